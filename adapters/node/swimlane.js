// @swimlane/docker-reference: a port of distribution/reference.
"use strict";

const { parseFamiliarName } = require("@swimlane/docker-reference");

require("./contract.js")((text) => {
  const named = parseFamiliarName(text);
  return {
    domain: named.domain,
    path: named.repository,
    tag: named.tag ?? null,
    digest: named.digest ?? null,
    canonical: named.toString(),
  };
});
