// @swimlane/docker-reference: a port of distribution/reference.
"use strict";

// V8 would interpret a pattern first and compile it later: which texts hang would be a matter of
// what was asked before.
require("node:v8").setFlagsFromString("--no-regexp-tier-up");
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
