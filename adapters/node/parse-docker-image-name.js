// parse-docker-image-name: the parts as they stand; what does not stand there it leaves open.
"use strict";

const parse = require("parse-docker-image-name");

require("./contract.js")((text) => {
  const { domain, path, tag, digest } = parse(text);
  const said = { tag: tag ?? null, digest: digest ?? null };
  if (domain) said.domain = domain;
  if (path?.includes("/") || (domain && domain !== "docker.io")) said.path = path;
  return said;
});
