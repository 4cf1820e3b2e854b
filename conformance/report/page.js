"use strict";
const story = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const rows = story.lines.map((_, number) => $("row-" + number));
const svg = document.querySelector("#body svg");
const lifelines = [...svg.querySelectorAll(".lifeline")];
const quiet = () => new Set(story.quiet);
const off = { lanes: new Set(), channels: quiet() };
// The only party that is shown, with whomever it speaks.
let alone = "";
let visible = [];
let chosen = -1;

function make(tag, text = "", kind = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  made.className = kind;
  return made;
}

// -- where it is: a party that is not shown takes no room

// Words in the middle of an arrow are as far left and right as it is.
function spanOf(words) {
  const arrows = [...words.parentNode.querySelectorAll("polyline")].flatMap((arrow) => arrow.getAttribute("points").split(" "));
  const xs = arrows.map((point) => Number(point.split(",")[0]));
  return [Math.min(...xs), Math.max(...xs)];
}

// What was drawn, with where its points were. What fills a whole row has no place.
const drawn = [...document.querySelectorAll("#diagram svg :is(rect:not(.strip), text, circle, polyline, polygon)")].map((shape) => {
  const points = shape.getAttribute("points");
  if (points) return { shape, xs: points.split(" ").map((point) => Number(point.split(",")[0])), ys: points.split(" ").map((point) => point.split(",")[1]) };
  if (shape.matches(".event[text-anchor=middle]")) return { shape, xs: spanOf(shape) };
  const x = Number(shape.getAttribute(shape.tagName === "circle" ? "cx" : "x"));
  return { shape, xs: [x + Number(shape.getAttribute("width") || 0) / 2] };
});
const widths = [...document.querySelectorAll("#diagram svg")].map((each) => [each, each.viewBox.baseVal.width]);
let closed = new Set();

const laneAt = (x) => Math.floor((x - story.times) / story.pitch);
const isClosed = (x) => closed.has(story.lanes[laneAt(x)]);

// Where a place has moved to: up to there, only lanes that are open count.
function moved(x) {
  let at = x;
  story.lanes.forEach((lane, number) => {
    const start = story.times + number * story.pitch;
    if (closed.has(lane)) at -= Math.min(Math.max(x - start, 0), story.pitch);
  });
  return at;
}

function lay() {
  const touched = new Set(visible.flatMap((number) => [story.lines[number].from, ...story.lines[number].to]));
  const now = new Set(story.lanes.filter((lane) => off.lanes.has(lane) || (alone && !touched.has(lane))));
  if (now.size === closed.size && [...now].every((lane) => closed.has(lane))) return;
  closed = now;
  for (const { shape, xs, ys } of drawn) {
    // An arrow is where it ends, its head where its tip is. The words of a message stay whatever they lie on.
    const isWords = shape.tagName === "text" && (shape.classList.contains("event") || shape.classList.contains("said"));
    const place = shape.tagName === "polyline" ? xs[xs.length - 1] : xs[0];
    shape.classList.toggle("closed", !isWords && isClosed(place));
    if (shape.tagName === "polyline") shape.setAttribute("points", xs.map((x, number) => `${moved(x)},${ys[number]}`).join(" "));
    else if (shape.tagName === "polygon") shape.style.transform = `translateX(${moved(xs[0]) - xs[0]}px)`;
    else shape.style.transform = `translateX(${xs.reduce((sum, x) => sum + moved(x) - x, 0) / xs.length}px)`;
  }
  for (const [each, width] of widths) {
    const box = each.viewBox.baseVal;
    box.width = width - closed.size * story.pitch;
    each.style.width = box.width + "px";
  }
}

// -- what is shown

function isShown(line) {
  const lanes = line.from ? [line.from, ...line.to] : line.to;
  if (alone && lanes.length && !lanes.includes(alone)) return false;
  if (lanes.length && lanes.every((lane) => off.lanes.has(lane))) return false;
  if (line.kind !== "message") return true;
  // Of a message between two parties both are wanted: whoever hides one of them does not want to hear of it.
  if (off.lanes.has(line.from) || (line.to.length && line.to.every((lane) => off.lanes.has(lane)))) return false;
  if (off.channels.has(line.channel) && !line.accused.length) return false;
  const words = $("about").value.trim();
  if (!words) return true;
  if (story.requests.includes(words)) return line.about === words || line.id === words;
  return [line.what, line.id, line.about, line.remark].some((text) => text.includes(words));
}

function show() {
  visible = [];
  story.lines.forEach((line, number) => {
    const shown = isShown(line);
    rows[number].setAttribute("display", shown ? "inline" : "none");
    if (shown) rows[number].setAttribute("transform", `translate(0,${story.row * visible.push(number) - story.row})`);
  });
  const box = svg.viewBox.baseVal;
  const height = Math.max(visible.length, 1) * story.row + 12;
  svg.setAttribute("viewBox", `${box.x} ${box.y} ${box.width} ${height}`);
  svg.style.height = height + "px";
  document.querySelectorAll("#heads text.role").forEach((each) => each.classList.toggle("alone", each.textContent === alone));
  lay();
  for (const line of lifelines) {
    const x = line.getAttribute("points").split(",")[0];
    line.setAttribute("points", `${x},0 ${x},${height}`);
  }
  tell();
}

function tell() {
  const place = visible.indexOf(chosen);
  const all = `${visible.length} of ${story.lines.length} lines`;
  $("where").textContent = place < 0 ? all : `${place + 1} / ${all}`;
}

function toggles(into, names, setOf) {
  const buttons = names.map((name) => {
    const button = make("button", name);
    button.addEventListener("click", () => {
      if (!setOf().delete(name)) setOf().add(name);
      press();
      show();
    });
    into.append(button);
    return button;
  });
  const press = () => buttons.forEach((each) => each.setAttribute("aria-pressed", String(!setOf().has(each.textContent))));
  press();
  return press;
}

const pressLanes = toggles($("lanes"), story.lanes, () => off.lanes);
const pressChannels = toggles($("channels"), story.channels, () => off.channels);

function clear() {
  off.lanes.clear();
  off.channels = quiet();
  alone = "";
  $("about").value = "";
  pressLanes();
  pressChannels();
  show();
}

// -- one line

function fact(list, name, text, kind = "") {
  if (text === "") return;
  list.append(make("dt", name), make("dd", text, kind));
}

function detail(line) {
  const into = $("detail");
  into.replaceChildren(make("h2", line.what, line.accused.length ? "bad" : ""));
  const list = make("dl");
  fact(list, "at", `${line.at / 1e9} s`);
  if (line.kind === "message") {
    fact(list, "way", `${line.from} → ${line.to.join(", ") || "nobody"}`);
    fact(list, "channel", line.channel);
    fact(list, "msg_id", line.id);
    fact(list, "about", line.about === line.id ? "" : line.about);
    fact(list, "lost", line.lost ? "nobody took it" : "", "bad");
  } else {
    fact(list, "where", [line.from, ...line.to].filter(Boolean).join(", ") || "everywhere");
  }
  fact(list, "remark", line.remark);
  fact(list, "accused", line.accused.map((number) => story.violations[number]).join("; "), "bad");
  into.append(list);
  if (line.about && line.kind === "message") {
    const only = make("button", "only this request");
    only.addEventListener("click", () => { $("about").value = line.about; show(); bring(); });
    into.append(only);
  }
  for (const [name, text] of line.parts) into.append(make("h3", name), make("pre", story.texts[text]));
  into.scrollTop = 0;
}

function choose(number) {
  const about = story.lines[number].about;
  rows.forEach((row, each) => {
    row.classList.toggle("chosen", each === number);
    row.classList.toggle("kin", each !== number && about !== "" && story.lines[each].about === about);
  });
  chosen = number;
  detail(story.lines[number]);
  bring();
  tell();
  // Not the row's own id: the browser would put the row under the names of the parties.
  history.replaceState(null, "", "#line-" + number);
}

function bring() {
  const place = visible.indexOf(chosen);
  if (place < 0) return;
  const view = $("diagram");
  const top = place * story.row;
  const room = view.clientHeight - $("heads").offsetHeight - 2 * story.row;
  if (top < view.scrollTop || top > view.scrollTop + room) view.scrollTop = top - room / 2;
  const line = story.lines[chosen];
  const lanes = [line.from, ...line.to].filter((lane) => lane && !closed.has(lane));
  const places = lanes.map((lane) => moved(story.times + story.pitch * story.lanes.indexOf(lane)));
  if (!places.length) return;
  const left = Math.min(...places);
  const right = Math.max(...places) + story.pitch;
  if (right > view.scrollLeft + view.clientWidth) view.scrollLeft = right - view.clientWidth;
  if (left - story.times < view.scrollLeft) view.scrollLeft = left - story.times;
}

function move(by, isWanted = () => true) {
  let place = visible.indexOf(chosen);
  // What was chosen may be hidden: go on from where it would be.
  if (place < 0) place = visible.findIndex((number) => number > chosen) - (by > 0 && chosen >= 0 ? 1 : 0);
  if (chosen < 0) place = by > 0 ? -1 : visible.length;
  for (place += by; place >= 0 && place < visible.length; place += by) {
    if (isWanted(story.lines[visible[place]])) return choose(visible[place]);
  }
}

const isTrouble = (line) => line.accused.length || line.lost || line.kind === "fault";

// -- events

rows.forEach((row, number) => row.addEventListener("click", () => choose(number)));
document.querySelectorAll("#heads text.role").forEach((text) => text.addEventListener("click", () => {
  alone = alone === text.textContent ? "" : text.textContent;
  show();
}));

$("about").addEventListener("input", show);
$("clear").addEventListener("click", clear);
$("step").addEventListener("click", () => move(1));
$("back").addEventListener("click", () => move(-1));
$("trouble").addEventListener("click", () => move(1, isTrouble));
$("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const isDark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = isDark ? "light" : "dark";
});
document.addEventListener("keydown", (event) => {
  if (event.target.tagName === "INPUT" || event.ctrlKey || event.metaKey || event.altKey) return;
  const does = {
    j: () => move(1), ArrowDown: () => move(1), k: () => move(-1), ArrowUp: () => move(-1),
    n: () => move(1, isTrouble), N: () => move(-1, isTrouble), Escape: clear,
    Home: () => { chosen = -1; move(1); }, End: () => { chosen = -1; move(-1); },
  }[event.key];
  if (does) { event.preventDefault(); does(); }
});

for (const [number, text] of story.violations.entries()) {
  const line = make("div", "✗ " + text, "violation");
  line.addEventListener("click", () => {
    const at = story.lines.findLastIndex((each) => each.accused.includes(number));
    if (at >= 0) choose(at);
  });
  $("said").append(line);
}
for (const note of story.notes) $("said").append(make("div", note));
for (const id of story.requests) {
  const option = make("option");
  option.value = id;
  $("requests").append(option);
}
for (const each of document.querySelectorAll("#diagram svg")) {
  each.style.width = each.viewBox.baseVal.width + "px";
  each.style.height = each.viewBox.baseVal.height + "px";
}
show();
// A view can be linked to: which parties it leaves out, and which line is chosen.
for (const lane of (/^#hide=(.*)$/.exec(decodeURIComponent(location.hash)) || ["", ""])[1].split(",")) if (story.lanes.includes(lane)) off.lanes.add(lane);
if (off.lanes.size) { pressLanes(); show(); }
const asked = /^#line-(\d+)$/.exec(location.hash);
if (asked && rows[Number(asked[1])]) choose(Number(asked[1]));
// Whoever opens the page of a violation wants to see what is accused.
else if (!location.hash) {
  const at = story.lines.findLastIndex((each) => each.accused.length);
  if (at >= 0) choose(at);
}
