"use strict";
const story = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const rows = story.lines.map((_, number) => $("row-" + number));
const svg = document.querySelector("#body svg");
const lifelines = [...svg.querySelectorAll(".lifeline")].map((each) => [each, each.getAttribute("points").split(",")[0]]);
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
  for (const [line, x] of lifelines) line.setAttribute("points", `${x},0 ${x},${height}`);
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
  const places = [line.from, ...line.to].filter(Boolean).map((lane) => story.times + story.pitch * story.lanes.indexOf(lane));
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
const asked = /^#line-(\d+)$/.exec(location.hash);
if (asked && rows[Number(asked[1])]) choose(Number(asked[1]));
