// docker-parse-image: a null registry or namespace is Docker Hub's, which it leaves open.
"use strict";

const parse = require("docker-parse-image");

require("./contract.js")((text) => {
  const parsed = parse(text);
  if (parsed === null) throw new Error("null");
  const { registry, namespace, repository, tag } = parsed;
  const said = { tag };
  if (registry) said.domain = registry;
  if (namespace) said.path = `${namespace}/${repository}`;
  return said;
});
