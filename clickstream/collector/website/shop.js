// The demo shop: a few pages that change without loading, and the visitor's own session.
(() => {
  "use strict";

  const PRODUCTS = [
    { id: "p1", name: "Wool socks", category: "clothes", price: 9.9 },
    { id: "p2", name: "Rain jacket", category: "clothes", price: 89 },
    { id: "p3", name: "Tin kettle", category: "kitchen", price: 24.5 },
    { id: "p4", name: "Bread knife", category: "kitchen", price: 31 },
  ];
  const REFRESH = 1000; // milliseconds

  const page = document.getElementById("page");
  const cart = [];

  const element = (name, attributes = {}, ...children) => {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  };

  const link = (path, text) => element("a", { href: path }, text);

  const money = (amount) => amount.toFixed(2);

  // == Pages =====================================================================================

  const productFields = ({ id, category, price }) => ({
    "data-product-id": id,
    "data-product-category": category,
    "data-price": price,
  });

  const addButton = (product) => {
    const button = element(
      "button",
      { "data-track": "add_to_cart", id: `add-${product.id}`, ...productFields(product) },
      "Add to cart",
    );
    button.addEventListener("click", () => {
      cart.push(product);
      document.getElementById("in-cart").textContent = cart.length;
    });
    return button;
  };

  const productList = (products) =>
    element(
      "ul",
      { class: "products" },
      ...products.map((product) =>
        element(
          "li",
          {},
          element("h2", {}, link(`/demo/products/${product.id}`, product.name)),
          element("p", {}, money(product.price)),
          addButton(product),
        ),
      ),
    );

  const home = () => [element("h1", {}, "Products"), productList(PRODUCTS)];

  const productPage = (id) => {
    const product = PRODUCTS.find((each) => each.id === id);
    if (!product) return [element("h1", {}, "There is no such product.")];
    return [
      element("h1", {}, product.name),
      element("p", {}, money(product.price)),
      addButton(product),
    ];
  };

  const results = () => {
    const wanted = new URLSearchParams(location.search).get("q") ?? "";
    const found = PRODUCTS.filter(({ name }) => name.toLowerCase().includes(wanted.toLowerCase()));
    return [element("h1", {}, `${found.length} found for “${wanted}”`), productList(found)];
  };

  const cartPage = () => {
    const total = cart.reduce((sum, { price }) => sum + price, 0);
    const buy = element("button", { id: "buy" }, `Buy for ${money(total)}`);
    buy.disabled = !cart.length;
    buy.addEventListener("click", order);
    const lines = cart.map(({ name, price }) => element("li", {}, `${name}: ${money(price)}`));
    return [element("h1", {}, "Cart"), element("ul", {}, ...lines), buy];
  };

  const order = () => {
    const orderId = crypto.getRandomValues(new Uint32Array(1))[0].toString(36);
    for (const { id, category, price } of cart.splice(0)) {
      clickstream.track("purchase", {
        order_id: orderId,
        product_id: id,
        product_category: category,
        price,
        quantity: 1,
      });
    }
    document.getElementById("in-cart").textContent = "0";
    navigate("/demo/thanks");
  };

  const show = () => {
    const path = location.pathname.replace(/^\/demo\/?/, "");
    const [name, id] = path.split("/");
    const pages = {
      "": home,
      cart: cartPage,
      search: results,
      thanks: () => [element("h1", {}, "Thank you.")],
      products: () => productPage(id),
    };
    page.replaceChildren(...(pages[name] ?? home)());
  };

  const navigate = (address) => {
    history.pushState(null, "", address);
    show();
  };

  document.addEventListener("click", (click) => {
    const target = click.target.closest("a");
    if (!target || click.metaKey || click.ctrlKey || click.shiftKey) return;
    click.preventDefault();
    navigate(target.href);
  });
  document.getElementById("search").addEventListener("submit", (submit) => {
    submit.preventDefault();
    const query = new FormData(submit.target).get("q");
    clickstream.track("search", { search_query: query });
    navigate(`/demo/search?q=${encodeURIComponent(query)}`);
  });
  addEventListener("popstate", show);

  // == The visitor's own session =================================================================

  const visitor = () => (localStorage.getItem("clickstream.visitor") ?? "").split(" ")[0];

  const waiting = () =>
    Object.keys(localStorage).filter((key) => key.startsWith("clickstream.event.")).length;

  const showSession = ({ session, events }) => {
    document.getElementById("state").textContent = session
      ? "As PostgreSQL has it now:"
      : "Waiting for the consumer …";
    const rows = Object.entries(session ?? {}).flatMap(([name, value]) => [
      element("dt", {}, name),
      element("dd", {}, String(value ?? "")),
    ]);
    document.getElementById("session").replaceChildren(...rows);
    document
      .getElementById("events")
      .replaceChildren(...events.map((event) => element("li", {}, event)));
  };

  const refresh = async () => {
    document.getElementById("waiting").textContent = waiting();
    try {
      const answer = await fetch(`/demo/session?visitor=${encodeURIComponent(visitor())}`);
      if (answer.ok) showSession(await answer.json());
      else document.getElementById("state").textContent = "PostgreSQL cannot be reached.";
    } catch {
      document.getElementById("state").textContent = "The collector cannot be reached.";
    }
    setTimeout(refresh, REFRESH);
  };

  show();
  refresh();
})();
