// The script of the console: freshness, keys, local time, copying, colours. Pages work without it.
"use strict";
(() => {
  const kept = {
    get(name) { try { return localStorage.getItem(`segue.${name}`); } catch { return null; } },
    set(name, value) { try { localStorage.setItem(`segue.${name}`, value); } catch { /* private mode */ } },
  };
  const root = document.documentElement;

  // Colours: at once, so that the page does not flash.
  const THEMES = ["system", "light", "dark"];
  function showTheme() {
    const theme = kept.get("theme");
    if (theme === "light" || theme === "dark") root.dataset.theme = theme;
    else delete root.dataset.theme;
    const button = document.getElementById("theme");
    if (button) button.textContent = `Colours: ${THEMES.includes(theme) ? theme : "system"}`;
  }
  showTheme();

  // Times: as the server wrote them, or in the zone of the browser.
  function showTimes(within) {
    const isLocal = kept.get("zone") === "local";
    for (const time of within.querySelectorAll("time[datetime]")) {
      if (!time.dataset.utc) time.dataset.utc = time.textContent;
      time.textContent = isLocal ? local(new Date(time.dateTime)) : time.dataset.utc;
    }
  }
  function local(date) {
    return new Intl.DateTimeFormat("sv-SE", {
      dateStyle: "short", timeStyle: "medium",
    }).format(date) + " " + (Intl.DateTimeFormat().resolvedOptions().timeZone || "local");
  }
  function showZone() {
    const button = document.getElementById("zone");
    button.textContent = kept.get("zone") === "local" ? "Times in your zone" : "Times in UTC";
    showTimes(document);
  }

  // Copying.
  function showCopy(within) {
    if (!navigator.clipboard) return;
    for (const button of within.querySelectorAll("button.copy")) button.hidden = false;
  }
  async function copy(button) {
    const source = document.getElementById(button.dataset.copy);
    if (!source) return;
    try {
      await navigator.clipboard.writeText(source.textContent);
      const before = button.textContent;
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = before; }, 1500);
    } catch { button.textContent = "Not allowed"; }
  }

  // Freshness: the page is fetched again, and its regions are replaced. A region in use stays as it is.
  const EVERY_MS = 5000;
  const SLOW = 8; // a server that takes a while is asked as many times less often
  let pause_ms = EVERY_MS;
  let freshAt = Date.now();
  function isUsed(region) {
    const isWritten = region.contains(document.activeElement) && document.activeElement.matches("input, select, textarea");
    if (region.dataset.region === "always") return isWritten;
    const selection = getSelection();
    const isSelected = selection && !selection.isCollapsed && region.contains(selection.anchorNode);
    return isSelected || region.matches(":hover") || region.contains(document.activeElement)
      || region.querySelector("details[open], input:checked") !== null;
  }
  function refreshed(region, next) {
    const key = (element) => element.textContent.replace(/\s+/g, " ");
    if (key(region) === key(next)) return;
    if (isUsed(region)) {
      const change = next.querySelectorAll("tbody tr").length - region.querySelectorAll("tbody tr").length;
      region.dataset.stale = "";
      say(change > 0 ? `${change} new; shown when you leave the list` : "Newer figures are shown when you leave the list");
      return;
    }
    const copy = document.importNode(next, true);
    showTimes(copy);
    showCopy(copy);
    region.replaceWith(copy);
  }
  async function refresh() {
    const regions = [...document.querySelectorAll("[data-region]")];
    if (document.hidden || !regions.length || document.querySelector("dialog[open]")) return;
    const began = Date.now();
    try {
      const from = document.querySelector("[data-fresh]")?.dataset.fresh ?? location.href;
      const response = await fetch(from, { headers: { Accept: "text/html" }, redirect: "error" });
      if (!response.ok) throw new Error(String(response.status));
      const page = new DOMParser().parseFromString(await response.text(), "text/html");
      say("");
      for (const region of regions) {
        const next = page.getElementById(region.id);
        if (next) refreshed(region, next);
      }
      freshAt = Date.now();
    } catch { say(`Not updated since ${local(new Date(freshAt))}`); }
    const every_ms = document.querySelector("progress") ? EVERY_MS / 5 : EVERY_MS;
    pause_ms = Math.min(60000, Math.max(every_ms, (Date.now() - began) * SLOW));
  }
  function say(text) {
    const stale = document.getElementById("stale");
    if (stale.textContent !== text) stale.textContent = text;
  }
  async function keepFresh() {
    await refresh();
    setTimeout(keepFresh, pause_ms);
  }

  // The live tail: rows come as a stream, and go on top. While it is paused or in use, they wait.
  const MOST_ROWS = 200;
  function follow(tail) {
    const button = document.getElementById("pause");
    const waiting = new Map(); // by id
    let source = null;
    let isPaused = false;
    function show() {
      if (!isPaused && !isUsed(tail)) {
        for (const row of waiting.values()) place(row);
        waiting.clear();
        while (tail.children.length > MOST_ROWS) tail.lastElementChild.remove();
      }
      const count = [...waiting.keys()].filter((id) => !document.getElementById(id)).length;
      document.getElementById("more").textContent = count ? `${count}${count < MOST_ROWS ? "" : " or more"} more` : "";
    }
    function place(row) {
      showTimes(row);
      showCopy(row);
      const before = document.getElementById(row.id);
      if (before) before.replaceWith(row);
      else tail.prepend(row);
      document.getElementById("nothing").hidden = true;
    }
    function take(event) {
      tail.dataset.after = event.lastEventId;
      const part = new DOMParser().parseFromString(event.data, "text/html");
      const share = part.getElementById("share");
      if (share) document.getElementById("share").textContent = share.textContent;
      for (const row of part.querySelectorAll("li[id^=row-]")) {
        waiting.delete(row.id);
        waiting.set(row.id, document.importNode(row, true));
        if (waiting.size > MOST_ROWS) waiting.delete(waiting.keys().next().value);
      }
      show();
    }
    function open() {
      source?.close();
      if (document.hidden) return;
      const address = new URL(location.href);
      address.searchParams.set("after", tail.dataset.after);
      source = new EventSource(address);
      source.onmessage = take;
      source.onerror = () => { if (source.readyState === EventSource.CLOSED) setTimeout(open, EVERY_MS); };
    }
    button.hidden = false;
    button.addEventListener("click", () => {
      isPaused = !isPaused;
      button.firstChild.textContent = isPaused ? "Go on " : "Pause ";
      show();
    });
    document.addEventListener("visibilitychange", open);
    open();
  }

  // Keys. None of them changes anything.
  let isGoing = false;
  function onKey(event) {
    const target = event.target;
    if (event.ctrlKey || event.metaKey || event.altKey || kept.get("keys") === "off") return;
    if (target.matches("input, textarea, select") && !target.matches("[type=checkbox]")) {
      if (event.key === "Escape") target.blur();
      return;
    }
    if (document.querySelector("dialog[open]")) return;
    if (isGoing) {
      isGoing = false;
      const link = document.querySelector(`nav a[data-key="${CSS.escape(event.key)}"]`);
      if (link) { event.preventDefault(); link.click(); }
      return;
    }
    const act = { g: go, "/": search, "?": keys, j: () => row(1), k: () => row(-1), x: select, ".": pause,
      "]": next, "[": back, Escape: back }[event.key];
    if (act) { event.preventDefault(); act(); }
  }
  function go() { isGoing = true; setTimeout(() => { isGoing = false; }, 1500); }
  function search() {
    const field = document.getElementById("search");
    if (field) field.focus();
    else location.href = "/people#search";
  }
  function keys() { document.getElementById("keys").showModal(); }
  function row(step) {
    const rows = [...document.querySelectorAll("[data-row]")];
    if (!rows.length) return;
    const at = rows.indexOf(document.activeElement);
    rows[Math.min(rows.length - 1, Math.max(0, at < 0 ? 0 : at + step))].focus();
  }
  function next() { document.querySelector('a[rel="next"]')?.click(); }
  function back() { history.back(); }
  function pause() { document.getElementById("pause")?.click(); }
  function select() {
    const box = document.activeElement.closest("tr")?.querySelector("input[type=checkbox]");
    if (box) box.checked = !box.checked;
  }

  document.addEventListener("DOMContentLoaded", () => {
    document.querySelector(".tools").hidden = false;
    showTheme();
    showZone();
    showCopy(document);
    document.getElementById("theme").addEventListener("click", () => {
      const at = THEMES.indexOf(kept.get("theme") || "system");
      kept.set("theme", THEMES[(at + 1) % THEMES.length]);
      showTheme();
    });
    document.getElementById("zone").addEventListener("click", () => {
      kept.set("zone", kept.get("zone") === "local" ? "utc" : "local");
      showZone();
    });
    document.getElementById("show-keys").addEventListener("click", keys);
    const keysSwitch = document.getElementById("keys-switch");
    if (keysSwitch) {
      const box = keysSwitch.querySelector("input");
      keysSwitch.hidden = false;
      box.checked = kept.get("keys") !== "off";
      box.addEventListener("change", () => kept.set("keys", box.checked ? "on" : "off"));
    }
    document.addEventListener("click", (event) => {
      const button = event.target.closest("button.copy");
      if (button) copy(button);
    });
    document.addEventListener("keydown", onKey);
    const tail = document.getElementById("tail");
    if (tail) follow(tail);
    document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
    if (location.hash === "#search") search();
    setTimeout(keepFresh, document.querySelector("progress") ? EVERY_MS / 5 : EVERY_MS);
  });
})();
