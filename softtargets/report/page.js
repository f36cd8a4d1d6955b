"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const FILTERS = {
  dataset: "dataset", architecture: "architecture", forget_set: "forget set", mu_algo: "algorithm",
  arm: "targets", measure: "metric", where: "where",
};
const DARK = matchMedia("(prefers-color-scheme: dark)");
const FACTORS = ["dataset", "architecture", "forget_set", "mu_algo"];
const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#b5529b", "#b57a00", "#3a9bd6", "#8c6d31", "#6a5acd"];
const BRIGHT = ["#5ab4f0", "#ff8b4d", "#3fd0a4", "#e79bcb", "#f2b632", "#9bd4ff", "#c9a866", "#a99bff"];
const SYMBOLS = ["circle", "square", "diamond", "cross", "triangle-up", "star", "x", "pentagon"];
const chosen = {};
const arms = [...new Set(data.arms.map((one) => one.arm))];

// Plotly reads a little markup in its labels: none of it may come from a name
const plain = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
function short(value) {
  if (value === null || value === undefined) return "–";
  return value !== 0 && Math.abs(value) < 1e-3 ? value.toExponential(1) : value.toPrecision(3);
}
const counted = (count, name) => `${count} ${name}${count === 1 ? "" : "s"}`;
const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const mark = (arm) => ({
  color: (DARK.matches ? BRIGHT : COLOURS)[arms.indexOf(arm) % COLOURS.length],
  symbol: SYMBOLS[arms.indexOf(arm) % SYMBOLS.length],
});

// what tells the cells in sight apart: their other choices are in the filters
function label(cell, cells) {
  const varied = FACTORS.filter((name) => new Set([...cells].map((one) => data.cells[one][name])).size > 1);
  const told = varied.map((name) => data.cells[cell][name]).join(" ");
  const same = [...cells].filter((one) => varied.every((name) => data.cells[one][name] === data.cells[cell][name]));
  return cells.size < 2 ? "" : same.length > 1 ? data.cells[cell].name : told;
}

function element(tag, text, className) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function options() {
  const of = (name) => [...new Set(data.cells.map((cell) => String(cell[name])))].sort();
  return {
    dataset: of("dataset"), architecture: of("architecture"), forget_set: of("forget_set"), mu_algo: of("mu_algo"),
    arm: [...arms].sort(), measure: Object.keys(data.measures), where: Object.keys(data.where),
  };
}

function filters() {
  const words = { ...data.measures, ...data.where };
  for (const [name, values] of Object.entries(options())) {
    const label = element("label", FILTERS[name]);
    const select = element("select");
    select.name = name;
    const single = name === "measure" || name === "where";
    if (!single) select.append(new Option("all", ""));
    for (const value of values) select.append(new Option(single ? words[value] : value, value));
    select.addEventListener("change", () => { chosen[name] = select.value; draw(); });
    chosen[name] = select.value;
    label.append(select);
    document.getElementById("filters").append(label);
  }
}

function inside(cell) {
  return FACTORS.every((name) => !chosen[name] || String(data.cells[cell][name]) === chosen[name]);
}

function table(id, caption, head, rows, words = []) {
  const whole = document.getElementById(id);
  whole.replaceChildren(element("caption", caption));
  const top = element("tr");
  for (const name of head) {
    const cell = element("th", name);
    cell.scope = "col";
    top.append(cell);
  }
  const header = element("thead");
  header.append(top);
  const body = element("tbody");
  for (const row of rows) {
    const line = element("tr");
    row.forEach((text, i) => line.append(
      element("td", text, words.includes(head[i]) ? "words" : i < 2 ? "" : "number")));
    body.append(line);
  }
  whole.append(header, body);
}

function figure(id, traces, layout) {
  const place = document.getElementById(id);
  if (!traces.length) {
    Plotly.purge(place);
    place.className = "figure empty";
    place.textContent = "Nothing to show for this choice.";
    return;
  }
  if (place.classList.contains("empty")) place.textContent = "";
  place.className = "figure";
  const axis = { gridcolor: style("--line"), zerolinecolor: style("--soft"), automargin: true };
  const common = {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: style("--text"), size: 12 },
    margin: { l: 60, r: 15, t: 30, b: 50 },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: style("--soft"), activecolor: style("--accent") }, legend: { orientation: "h", y: -0.25 }, hovermode: "closest",
  };
  const whole = { ...common, ...layout };
  for (const name of ["xaxis", "yaxis"]) whole[name] = { ...axis, ...(layout[name] || {}) };
  Plotly.react(place, traces, whole, { responsive: true, displaylogo: false });
}

function differences(verdicts) {
  const cells = new Set(verdicts.map((one) => one.cell));
  const name = (one) => plain(`${label(one.cell, cells)} ${one.one} − ${one.other}`.trim());
  const traces = [];
  for (const one of verdicts) {
    if (!one.points.length) continue;
    const row = name(one);
    traces.push({
      type: "scatter", mode: "markers", x: one.points.map((point) => point[1]), y: one.points.map(() => row),
      text: one.points.map((point) => `seed ${point[0]}`), hovertemplate: "%{text}: %{x}<extra></extra>",
      marker: { ...mark(one.other), opacity: 0.55, size: 8 }, showlegend: false,
    });
    const bar = one.low === null ? {} : {
      error_x: { symmetric: false, array: [one.high - one.mean], arrayminus: [one.mean - one.low], thickness: 2,
        color: style("--text") },
    };
    traces.push({
      type: "scatter", mode: "markers", x: [one.mean], y: [row], ...bar, showlegend: false,
      marker: { color: style("--text"), size: 11, symbol: "line-ns-open" },
      hovertemplate: "mean %{x}<extra></extra>",
    });
  }
  figure("differences", traces, {
    height: 130 + 34 * (traces.length / 2), xaxis: { title: { text: plain(data.measures[chosen.measure]) } },
    yaxis: { autorange: "reversed", type: "category" },
  });
}

function plane(groups, cells) {
  const cloud = (model, look) => {
    const points = [...cells].flatMap((cell) => data.references[cell][model]);
    return { type: "scatter", mode: "markers", name: model, x: points.map((point) => point[0]),
      y: points.map((point) => point[1]), marker: look };
  };
  if (!groups.length) return figure("plane", [], {});
  const traces = [
    cloud("retrained", { color: style("--soft"), size: 14, opacity: 0.35 }),
    cloud("original", { color: style("--soft"), size: 9, symbol: "x-thin-open" }),
  ];
  for (const arm of arms) {
    const mine = groups.filter((one) => one.arm === arm);
    if (!mine.length) continue;
    traces.push({
      type: mine.reduce((sum, one) => sum + one.seeds.length, 0) > 1500 ? "scattergl" : "scatter",
      mode: "markers", name: plain(arm), x: mine.flatMap((one) => one.forget), y: mine.flatMap((one) => one.test),
      text: mine.flatMap((one) => one.seeds.map((seed) => plain(`${data.cells[one.cell].mu_algo}, seed ${seed}`))),
      hovertemplate: "%{text}: forget %{x}, test %{y}<extra></extra>", marker: { ...mark(arm), size: 8, opacity: 0.8 },
    });
  }
  return figure("plane", traces, {
    height: 420, xaxis: { title: { text: "forget accuracy" } }, yaxis: { title: { text: "test accuracy" } },
  });
}

function ways(groups, cells) {
  const column = chosen.measure === "js_forget" ? "js_forget" : "forget_acc";
  const traces = groups.filter((one) => one.way.step.length > 1).map((one) => ({
    type: "scatter", mode: "lines", x: one.way.step, y: one.way[column],
    name: plain(`${label(one.cell, cells)} ${one.arm}`.trim()),
    line: { color: mark(one.arm).color, dash: ["solid", "dash", "dot", "dashdot"][one.cell % 4] },
  }));
  figure("ways", traces, {
    height: 420, xaxis: { title: { text: "steps of unlearning" } },
    yaxis: { title: { text: column === "js_forget" ? "JS on the forget set" : "forget accuracy" } },
  });
}

function classes(groups, cells) {
  const rows = groups.filter((one) => one.classes.length);
  if (!rows.length) return figure("classes", [], {});
  const name = (one) => plain(`${label(one.cell, cells)} ${one.arm}`.trim());
  const most = Math.max(...rows.map((one) => one.classes.length)); // datasets differ in theirs
  return figure("classes", [{
    type: "heatmap", x: [...Array(most).keys()].map((i) => `class ${i}`), y: rows.map(name),
    z: rows.map((one) => one.classes), zmid: 0, colorscale: "RdBu", reversescale: true,
    hovertemplate: "%{y}, %{x}: %{z}<extra></extra>", colorbar: { title: { text: "gap" }, thickness: 12 },
  }], { height: 150 + 26 * rows.length, yaxis: { autorange: "reversed", type: "category" } });
}

function diagnosis(groups) {
  const head = ["cell", "targets", "runs", "status", "‖q − p0‖₁", "q_y − p0_y", "entropy", "cosine",
    "first update", "seconds", "cost share"];
  table("state-table", "State of the forget targets at the original model", head, groups.map((one) => [
    data.cells[one.cell].name, one.arm, String(one.seeds.length),
    Object.entries(one.statuses).map(([status, count]) => `${count} ${status}`).join(", "),
    ...["target_distance", "sharpness", "target_entropy", "grad_cosine", "first_order"].map(
      (name) => short(one.state[name])),
    short(one.seconds), short(one.share)]), ["status"]);
}

function overSeeds() {
  const rows = data.over.filter((one) => inside(one.cell) && (!chosen.arm || ["nothing", chosen.arm].includes(one.arm)));
  const head = ["cell", "targets", "seeds", "Gaussian KLoM", "floor", "bounded KLoM", "exchanged", "p",
    "U-LiRA accuracy", "floor", "exchanged", "p"];
  const test = (one) => one ? [short(one.value), short(one.null), short(one.p)] : ["–", "–", "–"];
  table("over-table", data.over.length ? "Margins on the forget set" : "Needs ten seeds of an arm", head,
    rows.map((one) => [data.cells[one.cell].name, one.arm, String(one.seeds), short(one.klom), short(one.klom_floor),
      ...test(one.bounded), short(one.ulira), short(one.ulira_floor), ...test(one.attack).slice(1)]));
}

function notes() {
  const place = document.getElementById("notes");
  if (data.unlike) place.append(element("p", `${data.unlike}.`));
  const parts = { "Differs between the arms beside the targets": data.settings, "Left out": data.refused,
    "Runs without a result": data.missing };
  for (const [title, lines] of Object.entries(parts)) {
    if (!lines.length) continue;
    const list = element("ul");
    for (const line of lines) list.append(element("li", line));
    place.append(element("h3", title), list);
  }
  if (!place.childElementCount) place.append(element("p", "Nothing was left out."));
}

function draw() {
  const verdicts = data.verdicts.filter((one) => inside(one.cell) && one.measure === chosen.measure &&
    one.where === chosen.where && (!chosen.arm || [one.one, one.other].includes(chosen.arm)));
  const groups = data.arms.filter((one) => inside(one.cell) && (!chosen.arm || one.arm === chosen.arm));
  const cells = new Set(groups.map((one) => one.cell));
  const caption = `${data.measures[chosen.measure]}, ${data.where[chosen.where]}`;
  table("verdict-table", caption, ["cell", "arms", ...data.head],
    verdicts.map((one) => [data.cells[one.cell].name, one.arms, ...one.shown]), ["verdict"]);
  document.getElementById("shown").textContent = `${verdicts.length} of ${data.verdicts.length} rows shown`;
  differences(verdicts);
  plane(groups, cells);
  ways(groups, cells);
  classes(groups, cells);
  diagnosis(groups);
  overSeeds();
}

document.getElementById("about").textContent = `${data.title}: ` +
  `${counted(data.arms.reduce((sum, one) => sum + one.seeds.length, 0), "run")} in ` +
  counted(data.cells.length, "cell") +
  (data.missing.length ? `; ${data.missing.length} without a result, see the notes` : "") +
  (data.no_run ? `. ${data.no_run}` : "");
document.title = `${data.title} – SoftTargets report`;
notes();
if (data.no_run) {
  for (const part of document.querySelectorAll("nav, section:not([aria-labelledby=h-notes])")) part.hidden = true;
} else {
  filters();
  draw();
  DARK.addEventListener("change", draw);
}
