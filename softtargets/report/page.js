"use strict";
document.documentElement.classList.add("js");
addEventListener("error", (event) => {
  document.getElementById("errors").textContent =
    `The page's script failed: ${event.message}. Tables and figures below are complete; filters may not work.`;
});

// choices by which rows and figures are shown; they live in the address, so that a link opens what its sender saw
const FILTERS = {
  dataset: "dataset", architecture: "architecture", recipe: "recipe", forget: "forget set", algorithm: "algorithm",
  targets: "targets",
};
const ARMS = "#arms tbody tr:not(.apart)"; // of some it is not known which algorithm they have
const form = document.getElementById("filters");
const all = (selector, root = document) => [...root.querySelectorAll(selector)];

function element(tag, text) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  return made;
}

function addFilters() {
  for (const [name, title] of Object.entries(FILTERS)) {
    const values = [...new Set(all(`#arms tr[data-${name}]`).map((row) => row.getAttribute(`data-${name}`)))].sort();
    if (values.length < 2) continue;
    const label = element("label", title), select = element("select");
    select.name = name;
    select.append(new Option("all", ""), ...values.map((value) => new Option(value, value)));
    label.append(select);
    form.append(label);
  }
}

function readAddress() {
  for (const [name, value] of new URLSearchParams(location.hash.replace(/^#/, ""))) {
    const field = form.elements[name];
    if (!field || ![...(field.options || field)].some((one) => one.value === value)) continue;
    field.value = value;
  }
}

function choices() {
  const first = all("[name=measure]")[0];
  return new URLSearchParams([...new FormData(form)].filter(
    ([name, value]) => value && !(name === "measure" && value === first.value))).toString();
}

function writeAddress() {
  const words = choices();
  history.replaceState(null, "", words ? `#${words}` : location.pathname + location.search);
}

// a link of the page itself leads to a place, and leaves what is chosen
function followAddress() {
  if (document.getElementById(location.hash.slice(1))) {
    if (choices()) writeAddress();
    return;
  }
  form.reset();
  readAddress();
  show();
}

function show() {
  const chosen = Object.fromEntries(new FormData(form));
  const fits = (one) => Object.keys(FILTERS).every((name) => {
    const has = one.getAttribute(`data-${name}`);
    // an arm without targets has none of those chosen; its dataset is that of the figure around it
    const without = has === null && !(name === "targets" && one.hasAttribute("data-algorithm"));
    return !chosen[name] || has === chosen[name] || without;
  });
  for (const panel of all("[data-measure]")) panel.hidden = panel.dataset.measure !== chosen.measure;
  for (const one of all(`.facet, ${ARMS}, tr[data-algorithm], .legend [data-algorithm]`)) one.hidden = !fits(one);
  for (const one of all("g[data-algorithm]")) one.style.display = fits(one) ? "" : "none";
  for (const one of all(".small > :has(svg)")) one.hidden = !all("g[data-algorithm]", one).some(fits);
  for (const body of all(".chart tbody, #arms tbody")) body.hidden = !all("tr:not(.group, .apart, [hidden])", body).length;
}

function sortBy(column, head) {
  const heads = all("#arms thead th"), up = head.getAttribute("aria-sort") !== "ascending";
  for (const other of heads) other.setAttribute("aria-sort", "none");
  head.setAttribute("aria-sort", up ? "ascending" : "descending");
  const key = (row) => row.cells[column].dataset.key, number = column >= 2 && column <= 4;
  const order = (a, b) => (number ? Number(key(a)) - Number(key(b)) || 0 : key(a).localeCompare(key(b)));
  for (const body of all("#arms tbody")) { // arms that are ranked apart stay apart
    const rows = all("tr:not(.apart)", body), there = rows.filter(key).sort((a, b) => (up ? order(a, b) : order(b, a)));
    body.append(...there, ...rows.filter((row) => !key(row))); // what has no number comes last either way
  }
}

function addSorting() {
  all("#arms thead th").forEach((head, column) => {
    const button = element("button", head.textContent);
    button.type = "button";
    head.replaceChildren(button);
    head.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => sortBy(column, head));
  });
}

function save(text, type, name) {
  const link = element("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

const inSight = (one) => one.checkVisibility();

// every mark of a figure in sight, those beyond its axis too, with its title: the numbers from which it is drawn
function figureData(section) {
  const rows = [["measure", "setting", "group", "arm", ...section.dataset.columns.split(";")]];
  const named = (one, part) => one.closest("figure").querySelector(`figcaption ${part}`).textContent;
  const settingOf = (one) => one.closest(".facet").querySelector("summary").textContent;
  for (const line of all("[data-values]", section)) {
    if (!inSight(line.closest("svg")) || line.closest("g[style*=none]")) continue;
    const start = [named(line, "span").replace(" ↑", ""), settingOf(line), named(line, "b"), line.dataset.name];
    for (const point of line.dataset.values.split(" ")) rows.push([...start, ...point.split(";")]);
  }
  for (const title of all("svg title", section)) {
    if (!inSight(title.closest("svg")) || title.closest("g[style*=none]")) continue;
    const row = title.closest("tr"), words = title.textContent.split("; ");
    const panel = title.closest("[data-measure]"), line = title.closest("g[data-algorithm]");
    const group = row ? title.closest("tbody").querySelector(".group").textContent : line ? line.dataset.algorithm : named(title, "b");
    const arm = row ? row.dataset.name || row.querySelector("th span").textContent : words.shift();
    if (row && words.length === 3) words.splice(1, 0, ""); // an interval has two edges and no value
    rows.push([panel ? panel.dataset.measure : named(title, "span").replace(" ↑", ""), settingOf(title), group, arm, ...words]);
  }
  for (const row of rows) while (row.length < rows[0].length) row.push("");
  // a spreadsheet would run a text that starts like a formula
  const inert = (text) => (/^[=+\-@\t\r]/.test(text) && Number.isNaN(Number(text)) ? `'${text}` : text);
  return rows.map((row) => row.map((text) => `"${inert(text).replace(/"/g, '""')}"`).join(",")).join("\n") + "\n";
}

const STYLES = ["fill", "stroke", "stroke-width", "stroke-dasharray", "opacity", "font-size", "text-anchor",
  "vector-effect", "overflow", "filter", "paint-order"];

function styled(from, to) {
  const style = getComputedStyle(from);
  for (const name of STYLES) to.style[name] = style.getPropertyValue(name);
  [...from.children].forEach((child, i) => styled(child, to.children[i]));
}

// lines of text as they stand on the screen
function* linesOf(section) {
  const walker = document.createTreeWalker(section, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const parent = node.parentElement;
    if (!node.data.trim() || parent.closest("svg, button") || !inSight(parent)) continue;
    let line = null;
    for (const word of node.data.matchAll(/\S+/g)) {
      const range = document.createRange();
      range.setStart(node, word.index);
      range.setEnd(node, word.index + word[0].length);
      const box = range.getBoundingClientRect();
      if (line && Math.abs(line.box.bottom - box.bottom) < 3) line.text += ` ${word[0]}`;
      else {
        if (line) yield line;
        line = { text: word[0], box, style: getComputedStyle(parent) };
      }
    }
    if (line) yield line;
  }
}

function figurePicture(section) {
  section.classList.add("saved"); // nothing scrolls or sticks in a picture
  const place = section.getBoundingClientRect(), made = (tag, values) => {
    const one = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(values)) one.setAttribute(name, value);
    return one;
  };
  const whole = made("svg", { width: place.width, height: place.height, xmlns: "http://www.w3.org/2000/svg" });
  const ground = getComputedStyle(document.body).backgroundColor;
  whole.append(made("rect", { width: "100%", height: "100%", fill: ground }), document.querySelector(".defs defs").cloneNode(true));
  for (const picture of all("svg", section).filter((one) => inSight(one) && !one.parentElement.closest("svg"))) {
    const box = picture.getBoundingClientRect(), copy = picture.cloneNode(true);
    styled(picture, copy);
    for (const [name, value] of Object.entries({ x: box.x - place.x, y: box.y - place.y, width: box.width, height: box.height })) copy.setAttribute(name, value);
    const around = getComputedStyle(picture.parentElement);
    for (const name of ["opacity", "filter"]) copy.style[name] = around[name];
    whole.append(copy);
  }
  for (const { text, box, style } of linesOf(section)) {
    const line = made("text", { x: box.x - place.x, y: box.y - place.y + 0.78 * box.height, fill: style.color,
      "font-size": style.fontSize, "font-weight": style.fontWeight, "font-family": style.fontFamily });
    line.textContent = text;
    whole.append(line);
  }
  section.classList.remove("saved");
  return new XMLSerializer().serializeToString(whole);
}

// headings that a link leads to, and those of figures, stay below the bar, which takes more lines in a narrow window
function leaveRoomForBar() {
  const bar = form.parentElement, sticks = getComputedStyle(bar).position === "sticky";
  const height = sticks ? bar.offsetHeight : 0, style = document.documentElement.style;
  style.setProperty("--bar", `${height}px`);
  style.scrollPaddingTop = sticks ? `${height + 8}px` : "";
}

if (form) {
  addFilters();
  leaveRoomForBar();
  addEventListener("resize", leaveRoomForBar);
  addSorting();
  readAddress();
  show();
  form.addEventListener("change", () => { show(); writeAddress(); });
  form.addEventListener("submit", (event) => event.preventDefault());
  addEventListener("hashchange", followAddress);
}
for (const button of all("[data-save]")) {
  button.addEventListener("click", () => {
    const section = button.closest("[data-columns]"), name = section.querySelector("h2").id;
    if (button.dataset.save === "csv") save(figureData(section), "text/csv", `${name}.csv`);
    else save(figurePicture(section), "image/svg+xml", `${name}.svg`);
  });
}
