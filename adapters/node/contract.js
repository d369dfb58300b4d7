// The lines of kitref's adapter contract, answered by a function.
"use strict";

const readline = require("node:readline");

module.exports = (parts) => {
  readline.createInterface({ input: process.stdin }).on("line", (line) => {
    let said;
    try {
      said = parts(JSON.parse(line).text);
    } catch (error) {
      said = { error: String(error.message ?? error) };
    }
    process.stdout.write(`${JSON.stringify(said)}\n`);
  });
};
