// Asks /api/whereami at a steady pace, whatever becomes of earlier requests, and shows who answered.

const KEPT = 80;              // bars in the strip
const MEASURED = 200;         // latest answers that the figures are about
const UNDER_WAY = 40;         // most requests at once: a hung system must not pile up more
const GIVE_UP_MS = 5000;
const QUIET_TURNS = 6;        // a zone is quiet once it has missed this many requests for each known zone
const FORGET_MS = 60000;      // a replica that has not answered for this long is taken off the page
const HUES = ["#1f9e89", "#7a5af0", "#d98e04", "#d6457f", "#2f80d1", "#6a994e", "#9c6644", "#5f6f81"];

const at = (id) => document.getElementById(id);
const make = (tag, name = "", text = "") => Object.assign(document.createElement(tag), { className: name, textContent: text });

const regions = new Map();    // region name -> { hue, count, zones, parts on the page }
const latest = [];            // { ms, ok }, oldest first
let asked = 0;                // requests that have come to an end, well or not
let underWay = 0;
let timer = 0;

async function ask() {
  if (underWay >= UNDER_WAY) return;
  underWay += 1;
  const began = performance.now();
  try {
    const answer = await fetch("/api/whereami", { cache: "no-store", signal: AbortSignal.timeout(GIVE_UP_MS) });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    answered(await answer.json(), performance.now() - began);
  } catch (error) {
    failed(error, performance.now() - began);
  } finally {
    underWay -= 1;
  }
}

function answered({ region, zone, node }, ms) {
  const inRegion = regions.get(region) ?? addRegion(region);
  const inZone = inRegion.zones.get(zone) ?? addZone(inRegion, zone);
  inRegion.count += 1;
  inZone.count += 1;
  inZone.last = { at: performance.now(), asked };
  inZone.tally.textContent = inZone.count.toLocaleString();
  inRegion.tally.textContent = `${inRegion.count.toLocaleString()} answers`;
  lightUp(inZone.nodes.get(node) ?? addNode(inZone, node));
  record({ ms, ok: true }, inRegion.hue);
  tell(`${node} answered in ${Math.round(ms)} ms.`);
}

function failed(error, ms) {
  const reason = error.name === "TimeoutError" ? `no answer within ${GIVE_UP_MS / 1000} s` : error.message;
  record({ ms, ok: false });
  tell(`Failed at ${new Date().toLocaleTimeString()}: ${reason}.`, true);
}

function record(one, hue) {
  asked += 1;
  latest.push(one);
  if (latest.length > MEASURED) latest.shift();
  const bar = make("i", one.ok ? "" : "failed");
  if (one.ok) {
    bar.style.setProperty("--hue", hue);
    bar.style.setProperty("--tall", `${height(one.ms)}%`);
  }
  at("strip").append(bar);
  if (at("strip").childElementCount > KEPT) at("strip").firstChild.remove();
  showFigures();
}

// 1 ms is a stub, 10 ms a third, 1 s the full height: slow answers stand out and fast ones still differ.
const height = (ms) => Math.min(100, Math.max(6, 33 * Math.log10(Math.max(ms, 1))));

function showFigures() {
  const times = latest.filter((one) => one.ok).map((one) => one.ms).sort((a, b) => a - b);
  const share = (part) => times[Math.min(times.length - 1, Math.floor(times.length * part))];
  const lost = latest.length - times.length;
  show("answered", (100 * times.length / latest.length).toFixed(lost ? 1 : 0), "%");
  show("failed", lost, `of ${latest.length}`);
  at("failed").classList.toggle("some", lost > 0);
  if (times.length) {
    show("median", share(0.5).toFixed(share(0.5) < 10 ? 1 : 0), "ms");
    show("p99", share(0.99).toFixed(0), "ms");
  }
}

function show(id, value, unit) {
  at(id).replaceChildren(String(value), make("small", "", unit));
}

function tell(text, bad = false) {
  at("news").textContent = text;
  at("news").classList.toggle("bad", bad);
}

function addRegion(name) {
  const region = { hue: HUES[regions.size % HUES.length], count: 0, zones: new Map() };
  const title = make("h3", "", name);
  const box = make("div", "region");
  region.tally = make("small");
  region.grid = make("div", "zones");
  box.style.setProperty("--hue", region.hue);
  title.append(region.tally);
  box.append(title, region.grid);
  at("regions").append(box);
  regions.set(name, region);
  return region;
}

function addZone(region, name) {
  const zone = { count: 0, last: { at: 0, asked }, nodes: new Map(), box: make("div", "zone"), tally: make("div", "count") };
  zone.row = make("div", "nodes");
  zone.quiet = make("div", "quiet-for");
  zone.box.append(make("h4", "", name), zone.tally, zone.row, zone.quiet);
  zone.box.dataset.zone = name;
  insertSorted(region.grid, zone.box);
  region.zones.set(name, zone);
  return zone;
}

function insertSorted(grid, box) {
  const after = [...grid.children].find((other) => other.dataset.zone > box.dataset.zone);
  grid.insertBefore(box, after ?? null);
}

function addNode(zone, name) {
  const node = { dot: make("b"), at: 0 };
  node.dot.title = name;
  zone.row.append(node.dot);
  zone.nodes.set(name, node);
  return node;
}

function lightUp(node) {
  node.at = performance.now();
  node.dot.classList.remove("lit");
  void node.dot.offsetWidth;  // restarts the animation
  node.dot.classList.add("lit");
}

function lookBack() {
  if (!timer) return;
  const zones = [...regions.values()].flatMap((region) => [...region.zones.values()]);
  for (const zone of zones) {
    markQuiet(zone, asked - zone.last.asked > QUIET_TURNS * Math.max(zones.length, 2));
    forget(zone);
  }
}

function markQuiet(zone, quiet) {
  const seconds = Math.round((performance.now() - zone.last.at) / 1000);
  zone.box.classList.toggle("quiet", quiet);
  zone.quiet.textContent = quiet ? `quiet ${seconds} s` : "";
}

function forget(zone) {
  for (const [name, node] of zone.nodes) {
    if (performance.now() - node.at < FORGET_MS) continue;
    node.dot.remove();
    zone.nodes.delete(name);
  }
}

function setPace() {
  const wanted = Number(document.querySelector("[name=pace]:checked").value);
  clearInterval(timer);
  timer = wanted && !document.hidden ? setInterval(ask, 1000 / wanted) : 0;
}

for (const choice of document.querySelectorAll("[name=pace]")) choice.addEventListener("change", setPace);
document.addEventListener("visibilitychange", setPace);
setInterval(lookBack, 500);
setPace();
