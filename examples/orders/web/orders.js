// Takes orders and lists what the answering replica knows.

const at = (id) => document.getElementById(id);
const make = (tag, name = "", text = "") => Object.assign(document.createElement(tag), { className: name, textContent: text });

async function call(path, options = {}) {
  const answer = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(15000), ...options });
  if (!answer.ok) throw new Error(await reason(answer));
  return answer.json();
}

// The service explains itself in JSON; a gateway or balancer in front of it may answer anything.
async function reason(answer) {
  const said = await answer.json().catch(() => ({}));
  const detail = Array.isArray(said.detail) ? said.detail.map((one) => one.msg).join("; ") : said.detail;
  return `${answer.status} ${detail ?? said.message ?? answer.statusText}`;
}

async function list() {
  try {
    const { orders, answered_by } = await call("/api/orders?limit=8");
    at("orders").replaceChildren(...(orders.length ? orders.map(line) : [make("li", "none", "No orders yet.")]));
    at("list-from").textContent = `This list is from ${answered_by}; another one may know other orders.`;
  } catch (error) {
    say(`Could not list: ${error.message}`, true);
  }
}

function line(order) {
  const entry = make("li");
  const time = new Date(order.taken_at).toLocaleTimeString();
  entry.append(
    make("span", "what", order.item),
    make("span", "many", `× ${order.quantity}`),
    make("span", "who", `${time}, ${order.taken_by}`),
  );
  return entry;
}

async function take(event) {
  event.preventDefault();
  const form = event.target;
  const button = form.querySelector("button");
  const { item, quantity } = Object.fromEntries(new FormData(form));
  button.disabled = true;
  try {
    const order = await call("/api/orders", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ item, quantity: Number(quantity) }),
    });
    say(`Taken by ${order.taken_by}.`);
    form.reset();
    form.item.focus();
    await list();
  } catch (error) {
    say(`Not taken: ${error.message}`, true);
  } finally {
    button.disabled = false;
  }
}

function say(text, bad = false) {
  at("outcome").textContent = text;
  at("outcome").classList.toggle("bad", bad);
}

at("new-order").addEventListener("submit", take);
at("refresh").addEventListener("click", list);
list();
