"use strict";
// What the pages do beyond forms and links: all of it works without, a little slower.
(() => {
  const $ = (selector, from = document) => from.querySelector(selector);
  const $$ = (selector, from = document) => [...from.querySelectorAll(selector)];
  const keys = window.signoffKeys;
  const say = (text) => { const region = $("#live-region"); if (region) region.textContent = text; };

  // --- Times: in the reader's zone, and counting down.

  const clock = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
  const zone = new Intl.DateTimeFormat(undefined, { timeZoneName: "short" });
  const zoneName = (at) => (zone.formatToParts(at).find((part) => part.type === "timeZoneName") || {}).value || "";

  const localTimes = (from) => $$("time[datetime]:not([data-local])", from).forEach((element) => {
    const at = new Date(element.dateTime);
    if (Number.isNaN(at.getTime())) return;
    element.textContent = clock.format(at) + " " + zoneName(at);
    element.dataset.local = "";
  });

  const span = (seconds) => {
    if (seconds < 60) return Math.round(seconds) + " s";
    const days = Math.floor(seconds / 86400), hours = Math.floor(seconds / 3600) % 24, minutes = Math.floor(seconds / 60) % 60;
    const parts = [[days, "d"], [hours, "h"], [minutes, "min"]].filter(([count], at, all) => count || all.slice(0, at).some(([c]) => c));
    return parts.slice(0, 2).filter(([count]) => count).map(([count, unit]) => count + " " + unit).join(" ");
  };
  const countDown = () => $$("[data-due]").forEach((element) => {
    const left = (new Date(element.dataset.due) - Date.now()) / 1000;
    const text = span(Math.abs(left));
    if (element.textContent !== text) element.textContent = text;
    if (left <= 0 && element.dataset.gone === "undo") { const form = element.closest("form"); if (form) form.remove(); }
  });

  const prepare = (from) => { localTimes(from); countDown(); };

  // --- Review: arm, then commit; keep the note; count the reading time.

  const review = () => $("[data-review]");
  const form = () => $("form[data-decide]");

  const arm = (button) => {
    const decide = form();
    if (!decide || !button || button.matches(":disabled") || button.closest("fieldset:disabled")) return false;
    $$("[data-arm]", decide).forEach((other) => other.setAttribute("aria-pressed", String(other === button)));
    const decision = $("[data-decision]", decide);
    decision.value = button.value;
    decision.disabled = false;
    const box = $("[data-armed]", decide);
    box.hidden = false;
    const name = $(".choice-name", button).childNodes[2] ? $(".choice-name", button).textContent.replace(/\s+\S$/, "").trim() : button.value;
    $("[data-armed-says]", box).textContent = $(".choice-says", button).textContent.trim();
    $("[data-armed-name]", box).textContent = button.dataset.armName || button.value.replace(/_/g, " ");
    const commit = $("[data-commit]", box);
    commit.disabled = false;
    say("Armed: " + name + ". Control Enter confirms.");
    if (decide.querySelector("[data-edit].edited")) sayEdited(decide, button);
    const note = $("#note");
    if (button.hasAttribute("data-wants-note") && note && !note.value.trim()) note.focus();
    box.scrollIntoView({ block: "nearest" });
    return true;
  };
  // What the option leads to with the edits in it, in the server's words: the gate's templates are filled there.
  const sayEdited = async (decide, button) => {
    const body = new URLSearchParams(new FormData(decide));
    body.set("decision", button.value);
    try {
      const answer = await fetch(button.formAction, { method: "POST", body, headers: { Accept: "text/html" } });
      if (!answer.ok) return;
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      $$("[data-arm]", page).forEach((other) => {
        const own = $('[data-arm="' + CSS.escape(other.dataset.arm) + '"] .choice-says', decide);
        if (own) own.textContent = $(".choice-says", other).textContent.trim();
      });
      if (button.getAttribute("aria-pressed") === "true") $("[data-armed-says]", decide).textContent = $(".choice-says", button).textContent;
    } catch { /* the words of the payload as it was shown stay */ }
  };
  const disarm = () => {
    const decide = form();
    if (!decide || $("[data-armed]", decide).hidden) return false;
    $("[data-armed]", decide).hidden = true;
    $("[data-commit]", decide).disabled = true;
    $("[data-decision]", decide).disabled = true;
    $$("[data-arm]", decide).forEach((other) => other.setAttribute("aria-pressed", "false"));
    say("Disarmed.");
    return true;
  };

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-arm]");
    if (button) { event.preventDefault(); const again = button.getAttribute("aria-pressed") === "true"; if (!again) arm(button); else commit(); return; }
    if (event.target.closest("[data-disarm]")) { event.preventDefault(); disarm(); return; }
    const opener = event.target.closest("[data-open]");
    if (opener) { const dialog = document.getElementById(opener.dataset.open); if (dialog) dialog.showModal(); }
    $$("details.menu[open]").forEach((menu) => { if (!menu.contains(event.target)) menu.open = false; });
  });
  const commit = () => {
    const decide = form();
    const button = decide && $("[data-commit]", decide);
    if (!button || button.disabled || $("[data-armed]", decide).hidden) return false;
    decide.requestSubmit(button);
    return true;
  };
  // Enter in a one-line field would send the form to be shown again; with a script that is not needed.
  document.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.ctrlKey && !event.metaKey && event.target.matches("[data-decide] input")) event.preventDefault();
  });

  // By person: who signs in after somebody in the same tab is not shown their words.
  const NOTES = "signoff.note.";
  const draftOf = (id) => NOTES + document.body.dataset.me + "." + id;
  const keepNote = () => {
    const note = $("textarea[data-note]");
    if (!note) return;
    const draft = draftOf(note.dataset.note);
    const kept = sessionStorage.getItem(draft);
    if (kept && !note.value.trim()) note.value = kept;
    note.addEventListener("input", () => sessionStorage.setItem(draft, note.value));
  };
  // Sent is not said: the session may have ended, or the server be away. The page that tells of a decision lets go of it.
  const dropNote = () => $$("[data-done]").forEach((notice) => sessionStorage.removeItem(draftOf(notice.dataset.done)));
  document.addEventListener("submit", (event) => {
    if (event.target.getAttribute("action") !== "/sign-out") return;
    Object.keys(sessionStorage).filter((key) => key.startsWith(NOTES)).forEach((key) => sessionStorage.removeItem(key));
  });

  let readMs = 0, since = document.visibilityState === "visible" ? performance.now() : null;
  const reading = () => readMs + (since === null ? 0 : performance.now() - since);
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "visible") since = performance.now();
    else if (since !== null) { readMs += performance.now() - since; since = null; }
  });
  document.addEventListener("submit", (event) => {
    const field = $("[data-reading]", event.target);
    if (field) field.value = String(Math.round(reading()));
  }, true);

  const markEdits = (event) => {
    const field = event.target;
    if (field.matches("[data-edit]")) field.classList.toggle("edited", field.value !== field.dataset.original);
  };
  document.addEventListener("input", markEdits);

  // --- Inbox: rows by keyboard, selection, what is new.

  const rows = () => $$(".task-row");
  let current = -1;
  const point = (at) => {
    const all = rows();
    if (!all.length) return false;
    current = Math.max(0, Math.min(at, all.length - 1));
    all.forEach((row, index) => row.classList.toggle("current", index === current));
    const link = $("[data-open-row]", all[current]);
    link.focus({ preventScroll: true });
    all[current].scrollIntoView({ block: "nearest" });
    return true;
  };
  const currentRow = () => {
    const focused = document.activeElement && document.activeElement.closest(".task-row");
    if (focused) current = rows().indexOf(focused);
    return rows()[current];
  };
  const selection = () => {
    const bar = $(".bulk-bar");
    if (!bar) return;
    const count = $$("[data-pick]:checked").length;
    const text = $("[data-selected-count]", bar);
    text.dataset.idle = text.dataset.idle || text.textContent;
    text.textContent = count ? count + " selected" : text.dataset.idle;
    bar.classList.toggle("idle", count === 0);
  };
  document.addEventListener("change", (event) => { if (event.target.matches("[data-pick]")) selection(); });

  // What takes a moment says so, to who sees and to who listens; an answer that comes at once does not flicker.
  const LOADING = "Loading…", MOMENT_MS = 200;
  const waits = new Set();
  const loading = (sign) => {
    const list = $("#rows"), wait = {};
    waits.add(wait);
    if (list) list.setAttribute("aria-busy", "true");
    const timer = window.setTimeout(() => { if (sign) sign.classList.add("on"); say(LOADING); }, MOMENT_MS);
    return () => {
      window.clearTimeout(timer);
      waits.delete(wait);
      if (sign) sign.classList.remove("on");
      if (waits.size) return;
      if (list) list.removeAttribute("aria-busy");
      const region = $("#live-region");
      if (region && region.textContent === LOADING) say("");
    };
  };
  // The link that asked may be gone when the answer is there: what is asked is known by its request.
  const asked = new Map();
  document.addEventListener("htmx:beforeRequest", (event) => {
    const more = event.target.closest(".more");
    if (more) asked.set(event.detail.xhr, loading(null));
  });
  document.addEventListener("htmx:afterRequest", (event) => {
    const done = asked.get(event.detail.xhr);
    if (done) { asked.delete(event.detail.xhr); done(); }
  });

  const fresh = { pending: null, timer: 0, loading: false };
  const showFresh = () => {
    if (!fresh.pending) return false;
    const list = $("#rows");
    const chosen = new Set($$("[data-pick]:checked").map((box) => box.value.split(":")[0]));
    const next = fresh.pending;
    fresh.pending = null;
    $("[data-new-rows]").hidden = true;
    if (!list || !next.rows.length) { window.location.reload(); return true; }
    list.replaceChildren(...next.rows, ...next.more);
    $$("[data-pick]", list).forEach((box) => { box.checked = chosen.has(box.value.split(":")[0]); });
    if (window.htmx) window.htmx.process(list);
    current = -1;
    prepare(list);
    selection();
    return true;
  };
  const refreshList = async () => {
    if (fresh.loading) { fresh.again = true; return; }
    fresh.loading = true;
    const done = loading($("[data-refreshing]"));
    try {
      const answer = await fetch(window.location.href, { headers: { Accept: "text/html" }, cache: "no-store" });
      if (!answer.ok || new URL(answer.url).pathname !== "/inbox") return;
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      takeList(page);
    } catch { /* the next change, or the next poll, tries again */ } finally {
      fresh.loading = false;
      done();
      if (fresh.again) { fresh.again = false; refreshList(); }
    }
  };
  const takeList = (page) => {
    const tabs = $("#tabs", page);
    if (tabs && $("#tabs")) $("#tabs").replaceWith(document.adoptNode(tabs));
    const next = $$(".task-row", page).map((row) => document.adoptNode(row));
    const more = $$(".more", page).map((row) => document.adoptNode(row));
    const there = new Map(next.map((row) => [row.dataset.row, row]));
    const shown = rows();
    const known = new Set(shown.map((row) => row.dataset.row));
    const paged = shown.length > next.length && more.length > 0;
    shown.forEach((row) => {
      const now = there.get(row.dataset.row);
      if (now) keepInPlace(row, now);
      else if (!paged) leave(row);
    });
    const added = next.filter((row) => !known.has(row.dataset.row)).length;
    fresh.pending = added ? { rows: next.map((row) => row.cloneNode(true)), more } : null;
    const notice = $("[data-new-rows]");
    if (!notice) return;
    $("[data-new-count]").textContent = String(added);
    notice.hidden = added === 0;
    if (added) say(added + " new human tasks. Press . to show them.");
    if (!shown.length && added) window.location.reload();
  };
  // Rows never move under the cursor: what has left is struck out until the pointer and the focus have left the list.
  const busy = () => { const list = $("#rows"); return list && (list.matches(":hover") || list.contains(document.activeElement)); };
  const leave = (row) => {
    row.classList.add("gone");
    row.dataset.gone = "";
    const box = $("[data-pick]", row);
    if (box) { box.checked = false; box.disabled = true; }
    selection();
    sweepGone();
  };
  const sweepGone = () => {
    if (busy()) return;
    $$(".task-row[data-gone]").forEach((row) => row.remove());
    const list = $("#rows");
    if (list && !list.children.length) window.location.reload();
  };
  const keepInPlace = (row, now) => {
    if (row.outerHTML === now.outerHTML) return;
    $$(".when, .who-holds, .what .why", row).forEach((part, at) => {
      const other = $$(".when, .who-holds, .what .why", now)[at];
      if (other) part.innerHTML = other.innerHTML;
    });
    const box = $("[data-pick]", row), other = $("[data-pick]", now);
    if (box && other) box.value = other.value;
    prepare(row);
  };

  // --- Live: a stream of ids; polling when there is none.

  const live = { cursor: document.body.dataset.since || null, soon: 0 };
  const changed = (ids) => {
    const open = review();
    if (open) {
      if (ids === null || ids.includes(open.dataset.review)) refreshNotice(open);
      return;
    }
    if (document.body.dataset.scope !== "inbox") return;
    window.clearTimeout(live.soon);
    live.soon = window.setTimeout(refreshList, 120);
  };
  const refreshNotice = async (open) => {
    try {
      const answer = await fetch(open.dataset.notice, { headers: { "HX-Request": "true" }, cache: "no-store" });
      if (!answer.ok) return;
      const place = $("#notice");
      const body = new DOMParser().parseFromString(await answer.text(), "text/html").body;
      const before = place.textContent.trim();
      place.replaceChildren(...[...body.childNodes].map((node) => document.adoptNode(node)));
      prepare(place);
      if (!$("[data-lock]", place)) return;
      disarm();
      $$("fieldset[data-controls]").forEach((set) => { set.disabled = true; });
      if (place.textContent.trim() !== before) place.scrollIntoView({ block: "center" });
    } catch { /* the answer to the next press will say it */ }
  };
  const sayEnded = () => {
    const notice = document.createElement("div"), link = document.createElement("a");
    notice.className = "notice warn";
    notice.dataset.ended = "";
    notice.setAttribute("role", "alert");
    link.href = "/sign-in?next=" + encodeURIComponent(window.location.pathname + window.location.search);
    link.textContent = "Sign in again";
    notice.append("Your session has ended, and this page is no longer kept up to date. The note that you typed is kept. ", link);
    $("#main").prepend(notice);
  };
  const poll = async () => {
    try {
      const answer = await fetch("/live/changes" + (live.cursor ? "?since=" + encodeURIComponent(live.cursor) : ""), { cache: "no-store" });
      // Asking on would not end while the page is open, and nobody would know that it is out of date.
      if (answer.redirected && new URL(answer.url).pathname === "/sign-in") { sayEnded(); return; }
      if (answer.ok && answer.headers.get("Content-Type").includes("json")) {
        const found = await answer.json();
        live.cursor = found.cursor;
        if (found.refetch) changed(null);
        else if (found.ids.length) changed(found.ids);
      } else if (answer.status === 400 || answer.status === 422) live.cursor = null;
    } catch { /* the server is away; it is asked again */ }
    window.setTimeout(poll, document.hidden ? 15000 : 3000);
  };
  const listen = () => {
    if (!document.body.dataset.live || !(document.body.dataset.scope === "inbox" || review())) return;
    if (!window.EventSource) { poll(); return; }
    const source = new EventSource(document.body.dataset.live + (live.cursor ? "?since=" + encodeURIComponent(live.cursor) : ""));
    source.addEventListener("changed", (event) => changed(JSON.parse(event.data).ids));
    source.addEventListener("refetch", () => changed(null));
    ["ready", "changed", "refetch"].forEach((kind) => source.addEventListener(kind, (event) => { live.cursor = event.lastEventId || live.cursor; }));
    source.addEventListener("error", () => { if (source.readyState === EventSource.CLOSED) poll(); });
    window.addEventListener("pagehide", () => source.close());
  };
  const keepClaim = () => {
    const open = review();
    if (!open || !open.dataset.keep) return;
    window.setInterval(() => {
      if (document.hidden) return;
      const body = new URLSearchParams({ csrf: $("input[name=csrf]").value });
      fetch(open.dataset.keep, { method: "POST", body }).catch(() => {});
    }, 60000);
  };

  // --- Keys.

  const follow = (selector) => () => { const link = $(selector); if (!link) return false; link.click(); return true; };
  ["inbox", "runs", "audit", "insights"].forEach((place) => keys.on("go-" + place, follow('[data-go="go-' + place + '"]')));
  keys.on("help", () => $("#keys-help").showModal());
  keys.on("next-row", () => { currentRow(); return point(current + 1); });
  keys.on("previous-row", () => { currentRow(); return point(current - 1); });
  keys.on("open-row", (event) => {
    if (event.target.closest("a, button, summary, label")) return false;
    const row = currentRow();
    if (!row) return false;
    $("[data-open-row]", row).click();
    return true;
  });
  keys.on("select-row", () => { const row = currentRow(); const box = row && $("[data-pick]", row); if (!box) return false; box.click(); return true; });
  keys.on("search", () => { const field = $("[data-search]"); if (!field) return false; field.focus(); field.select(); return true; });
  keys.on("load-new", showFresh);
  document.addEventListener("click", (event) => { if (event.target.closest("[data-load-new]")) showFresh(); });
  keys.on("claim", follow("[data-claim]"));
  keys.on("note", () => { const note = $("#note"); if (!note || note.matches(":disabled")) return false; note.focus(); return true; });
  keys.on("edit", () => { const field = $("[data-edit]:not(:disabled)"); if (!field || field.closest("fieldset:disabled")) return false; field.focus(); return true; });
  ["approve", "reject", "request_changes"].forEach((option) => keys.on("arm-" + option, () => arm($('[data-arm="' + option + '"]'))));
  keys.on("commit", commit);
  keys.on("disarm", (event) => { if (event.target.matches("textarea, input, select")) event.target.blur(); return disarm(); });
  keys.on("next-task", follow("[data-next-task]"));
  keys.on("previous-task", follow("[data-previous-task]"));

  document.addEventListener("DOMContentLoaded", () => {
    document.documentElement.classList.add("scripted");
    $$("[data-needs-script]").forEach((element) => { element.hidden = false; });
    prepare(document);
    selection();
    dropNote();
    keepNote();
    $$("[data-edit]").forEach((field) => markEdits({ target: field }));
    listen();
    keepClaim();
    window.setInterval(countDown, 1000);
    document.addEventListener("pointermove", sweepGone, { passive: true });
    document.addEventListener("focusin", sweepGone);
    const wanted = $("[data-focus]");
    if (wanted) wanted.focus();
  });
  document.addEventListener("htmx:afterSwap", (event) => prepare(event.target));
})();
