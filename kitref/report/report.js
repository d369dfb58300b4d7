"use strict";

// A browser takes seconds to lay thousands of rows out, and no time for these.
const AT_ONCE = 250;
const collator = new Intl.Collator("en", { numeric: true });

/** Make a table's headers sort it and the fields above it filter it. */
function enliven(filter) {
  const table = document.getElementById(filter.dataset.of);
  const more = document.getElementById(`${filter.dataset.of}-more`);
  const [input] = filter.getElementsByTagName("input");
  const [select] = filter.getElementsByTagName("select");
  const [said] = filter.getElementsByTagName("p");
  const [body] = table.tBodies;
  const rows = Array.from(body.rows);
  let fitting = rows;
  let limit = AT_ONCE;
  let sorted = "";
  let texts = null;
  let timer = 0;

  function draw(most = limit) {
    body.replaceChildren(...fitting.slice(0, most));
    more.hidden = fitting.length <= most;
    const shown = Math.min(fitting.length, most);
    const cut = shown < fitting.length ? `, ${fitting.length} fit` : "";
    said.textContent = `${shown} of ${rows.length} rows shown${cut}${sorted}`;
  }

  function narrow() {
    texts ??= new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    fitting = rows.filter((row) => (!select.value || row.dataset.status === select.value)
      && words.every((word) => texts.get(row).includes(word)));
    limit = AT_ONCE;
    draw();
  }

  function sort(header) {
    const down = header.getAttribute("aria-sort") === "ascending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", down ? "descending" : "ascending");
    const keys = new Map(rows.map((row) => [row, row.cells[header.cellIndex].textContent.trim()]));
    rows.sort((a, b) => collator.compare(keys.get(a), keys.get(b)) * (down ? -1 : 1));
    sorted = `, sorted by ${header.textContent.trim()}, ${down ? "descending" : "ascending"}`;
    narrow();
  }

  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(narrow, 120);
  });
  select.addEventListener("change", narrow);
  table.tHead.addEventListener("click", (event) => {
    const header = event.target.closest("button")?.closest("th");
    if (header) sort(header);
  });
  more.addEventListener("click", () => {
    limit += AT_ONCE;
    draw();
    // A button that has gone would take the focus with it.
    if (more.hidden) table.parentElement.focus();
  });
  addEventListener("beforeprint", () => draw(Infinity));
  addEventListener("afterprint", () => draw());
  filter.hidden = false;
  // A browser may keep what was typed when a page is loaded again.
  if (input.value || select.value) narrow();
  else draw();
}

for (const filter of document.querySelectorAll("[data-of]")) enliven(filter);
