"use strict";
const report = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const NOT_JUDGED = "not judged";
const ORDER = ["failed", "warned", "known", "new", "kit error", "undecided", "blocked", "observed", "passed", "not applicable", NOT_JUDGED];
const OPEN = new Set(["kit error", "undecided", "blocked", "not applicable", NOT_JUDGED]);
const MEANS = {
  failed: "violations of a MUST", warned: "violations of a SHOULD", known: "violations that are known and argued",
  new: "violations of demands newer than those that the target keeps to", "kit error": "the kit could not judge", undecided: "nothing can be said", blocked: "a prerequisite was not met",
  observed: "seen, and demanded by nobody", passed: "kept", "not applicable": "not claimed, or not to be had here",
  [NOT_JUDGED]: "no case or rule came to it",
};
// What is shown: a target, and what is chosen of it. All of it stands in the address, so that a view can be linked to.
const chosen = { target: report.targets[0].name, verdicts: new Set(), family: "", level: "", search: "" };

const cases = new Map();
for (const each of report.judgements) {
  const key = each.target + "\n" + each.requirement;
  if (!cases.has(key)) cases.set(key, []);
  cases.get(key).push(each);
}
const casesOf = (slug) => cases.get(chosen.target + "\n" + slug) || [];
const target = () => report.targets.find((each) => each.name === chosen.target);
const kind = (verdict) => verdict.replace(" ", "-");

function make(tag, text = "", name = "", ...inside) {
  const made = document.createElement(tag);
  if (text) made.textContent = text;
  if (name) made.className = name;
  made.append(...inside);
  return made;
}

// What stands between backticks is code.
function prose(tag, text, name = "") {
  return make(tag, "", name, ...text.split("`").map((part, number) => number % 2 ? make("code", part) : part));
}

function counted(slugs) {
  const counts = new Map(ORDER.map((verdict) => [verdict, 0]));
  for (const slug of slugs) counts.set(target().requirements[slug], counts.get(target().requirements[slug]) + 1);
  return counts;
}

// -- the head

function head() {
  const about = $("about");
  about.replaceChildren(`${report.started.replace("T", " ").replace("+00:00", " UTC")}, ${Math.round(report.seconds)} s, ippkit ${report.kit}: `,
    make("code", report.command));
  if (!report.is_complete) about.append(make("b", " The run was interrupted."));
}

function targets() {
  if (report.targets.length < 2) return;
  $("targets").replaceChildren(...report.targets.map((each) => {
    const button = make("button", [each.name, each.version].filter(Boolean).join(" "));
    button.setAttribute("aria-pressed", String(each.name === chosen.target));
    button.addEventListener("click", () => choose({ target: each.name }));
    return button;
  }));
}

function cards() {
  const counts = counted(Object.keys(target().requirements));
  const meant = Object.keys(target().requirements).length;
  const open = [...OPEN].reduce((sum, verdict) => sum + counts.get(verdict), 0);
  const judged = meant - open;
  const facts = [
    [`${judged} of ${meant}`, "requirements judged", ""],
    [counts.get("failed"), "violated", counts.get("failed") ? "bad" : judged ? "well" : ""],
    [counts.get("known"), "known deviations", counts.get("known") ? "fault" : ""],
    [counts.get("warned"), "warnings", counts.get("warned") ? "fault" : ""],
    [open, "not judged", ""],
  ];
  $("cards").replaceChildren(...facts.map(([number, words, name]) =>
    make("div", "", `card ${name}`, make("b", String(number)), make("span", words))));
}

function families() {
  const byFamily = new Map();
  for (const slug of Object.keys(target().requirements)) {
    const family = report.requirements[slug].family;
    if (!byFamily.has(family)) byFamily.set(family, []);
    byFamily.get(family).push(slug);
  }
  $("families").replaceChildren(...[...byFamily].map(([family, slugs]) => {
    const counts = counted(slugs);
    const bar = make("span", "", "bar", ...ORDER.filter((verdict) => counts.get(verdict)).map((verdict) => {
      const part = make("i", "", kind(verdict));
      part.style.flex = String(counts.get(verdict));
      return part;
    }));
    bar.title = ORDER.filter((verdict) => counts.get(verdict)).map((verdict) => `${counts.get(verdict)} ${verdict}`).join(", ");
    const kept = slugs.filter((slug) => !OPEN.has(target().requirements[slug])).length;
    const row = make("button", "", "family", make("span", family), bar, make("span", `${kept} of ${slugs.length}`));
    row.setAttribute("aria-pressed", String(family === chosen.family));
    row.addEventListener("click", () => choose({ family: family === chosen.family ? "" : family }));
    return row;
  }));
}

function verdicts() {
  const counts = counted(Object.keys(target().requirements));
  $("verdicts").replaceChildren(...ORDER.filter((verdict) => counts.get(verdict)).map((verdict) => {
    const button = make("button", "", "", make("i", "", kind(verdict)), `${verdict} ${counts.get(verdict)}`);
    button.title = MEANS[verdict];
    button.setAttribute("aria-pressed", String(chosen.verdicts.has(verdict)));
    button.addEventListener("click", () => {
      if (!chosen.verdicts.delete(verdict)) chosen.verdicts.add(verdict);
      choose({});
    });
    return button;
  }));
}

// -- the requirements

function isShown(slug) {
  const demand = report.requirements[slug];
  if (chosen.verdicts.size && !chosen.verdicts.has(target().requirements[slug])) return false;
  if (chosen.family && demand.family !== chosen.family) return false;
  if (chosen.level && demand.level !== chosen.level) return false;
  const words = chosen.search.toLowerCase().split(/\s+/).filter(Boolean);
  if (!words.length) return true;
  const text = [slug, demand.text, ...casesOf(slug).flatMap((each) => [each.case, each.summary])].join(" ").toLowerCase();
  return words.every((word) => text.includes(word));
}

function list() {
  const order = (slug) => ORDER.indexOf(target().requirements[slug]);
  const slugs = Object.keys(target().requirements).filter(isShown).sort((one, other) => order(one) - order(other));
  $("count").textContent = `${slugs.length} of ${Object.keys(target().requirements).length} requirements`;
  $("list").replaceChildren(...slugs.map(row));
  if (!slugs.length) $("list").append(make("p", "Nothing is like that.", "nothing"));
}

const sign = (verdict) => make("span", "", "verdict", make("i", "", kind(verdict)), verdict);

function row(slug) {
  const demand = report.requirements[slug];
  const made = make("details", "", "", make("summary", "", "", sign(target().requirements[slug]), make("code", slug),
    prose("span", demand.text, "text")));
  made.dataset.slug = slug;
  // What is not looked at is not built: there are hundreds.
  made.addEventListener("toggle", () => { if (made.open && made.children.length === 1) made.append(inside(slug, demand)); });
  return made;
}

function inside(slug, demand) {
  const facts = make("dl");
  const add = (name, ...what) => facts.append(make("dt", name), make("dd", "", "", ...what));
  add("level", `${demand.level}, ${demand.basis}`);
  add("source", prose("span", demand.source.join("; ")));
  const found = casesOf(slug).slice().sort((one, other) => ORDER.indexOf(one.verdict) - ORDER.indexOf(other.verdict));
  return make("div", "", "inside", facts, ...(found.length ? found.map(judgement) : [make("p", MEANS[NOT_JUDGED], "nothing")]));
}

function judgement(each) {
  const line = make("p", "", "", sign(each.verdict), make("code", each.case));
  if (each.seconds) line.append(make("span", ` ${each.seconds.toFixed(2)} s`, "seconds"));
  const made = make("div", "", `case is-${kind(each.verdict)}`, line);
  if (each.by_rule) line.append(make("span", each.case === "rules" ? " watched all traffic" : " seen by a rule meanwhile", "seconds"));
  if (each.summary && !each.details) made.append(make("p", each.summary));
  if (each.reason) made.append(prose("p", `why: ${each.reason}`));
  if (each.page) {
    const link = make("a", "step through what happened");
    link.href = each.page;
    made.append(make("p", "", "", link));
  }
  if (each.details) made.append(make("pre", each.details));
  return made;
}

// -- what is chosen

function show() {
  targets(); cards(); families(); verdicts(); list();
  $("level").value = chosen.level;
  if ($("search").value !== chosen.search) $("search").value = chosen.search;
}

function choose(changes) {
  Object.assign(chosen, changes);
  const words = new URLSearchParams();
  if (report.targets.length > 1) words.set("target", chosen.target);
  if (chosen.verdicts.size) words.set("verdicts", [...chosen.verdicts].join(","));
  for (const name of ["family", "level", "search"]) if (chosen[name]) words.set(name, chosen[name]);
  history.replaceState(null, "", "#" + words);
  show();
}

function look() {
  const words = new URLSearchParams(location.hash.slice(1));
  const name = words.get("target");
  if (report.targets.some((each) => each.name === name)) chosen.target = name;
  chosen.verdicts = new Set((words.get("verdicts") || "").split(",").filter((verdict) => ORDER.includes(verdict)));
  for (const each of ["family", "level", "search"]) chosen[each] = words.get(each) || "";
  show();
  const open = [...document.querySelectorAll("details")].find((each) => each.dataset.slug === words.get("open"));
  if (open) {
    open.append(inside(open.dataset.slug, report.requirements[open.dataset.slug]));
    open.open = true;
    open.scrollIntoView();
  }
}

const clear = () => choose({ verdicts: new Set(), family: "", level: "", search: "" });
$("search").addEventListener("input", () => choose({ search: $("search").value }));
$("level").addEventListener("change", () => choose({ level: $("level").value }));
$("clear").addEventListener("click", clear);
$("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const isDark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = isDark ? "light" : "dark";
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") clear();
  if (event.key === "/" && event.target.tagName !== "INPUT") { event.preventDefault(); $("search").focus(); }
});
window.addEventListener("hashchange", look);
head();
look();
