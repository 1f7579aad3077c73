/** The verified head, its finality, the peers, and the paths to them. */
import type { Peer } from "tequio";
import { h, setAttribute, setText, setVisible } from "../dom.js";
import { age, bytes, count, short } from "../format.js";
import { t } from "../i18n/index.js";
import type { State } from "../state.js";
import { row } from "./row.js";
import type { View } from "./view.js";

const TRANSPORTS: Record<string, string> = {
  webrtc: "WebRTC",
  websocket: "WebSocket",
  tcp: "TCP",
  quic: "QUIC",
};

/** The state of the network and of the connection. */
export function networkView(): View {
  const title = h("h2", { id: "network-title" });
  const height = h("b", { "data-testid": "head-height" });
  const heightLabel = h("span", { class: "label" });
  const headAge = h("span", { class: "age" });
  const finality = h("p", { class: "finality", "data-testid": "finality" });
  const stale = h("p", { class: "notice", "data-testid": "stale" });
  const rows = {
    path: row("path"),
    peers: row("peers"),
    you: row("node"),
    data: row("data-used"),
  };
  const list = h("dl", { class: "rows" }, ...Object.values(rows).map(({ element }) => element));
  return {
    element: h(
      "section",
      { class: "network", "aria-labelledby": "network-title" },
      title,
      h("p", { class: "head" }, heightLabel, " ", height, " ", headAge),
      finality,
      stale,
      list,
    ),
    reads: (state) => [
      state.head,
      state.stale,
      state.peers,
      state.node,
      state.data,
      state.head === null ? 0 : state.nowMs,
    ],
    update(state) {
      const { head, peers } = state;
      setText(title, t("network.title"));
      setText(heightLabel, t("network.height"));
      setText(height, head === null ? "–" : count(head.height));
      setAttribute(height, "data-height", head?.height);
      setAttribute(height, "title", head?.hash);
      // The age since the head's arrival, because the device's clock may be wrong.
      const ageMs = Math.max(0, state.nowMs - state.headSeenMs);
      setText(headAge, head === null ? "" : t("network.age", { age: age(ageMs) }));
      setText(finality, finalityText(state));
      setAttribute(finality, "data-verified", head !== null);
      setText(stale, state.stale ? t("network.stale") : "");
      setVisible(stale, state.stale);
      const first = primary(peers);
      rows.path.update(t("network.path"), first === undefined ? "–" : pathText(first));
      setAttribute(rows.path.value, "data-path", first?.path);
      setAttribute(rows.path.value, "data-transport", first?.transport);
      const none = peers.length === 0;
      rows.peers.update(t("network.peers"), none ? t("network.peersNone") : peersText(peers));
      setAttribute(rows.peers.value, "data-count", peers.length);
      rows.you.update(t("network.you"), state.node === null ? "–" : short(state.node));
      setAttribute(rows.you.value, "title", state.node);
      const { received = 0, sent = 0 } = state.data ?? {};
      const used = { down: bytes(received), up: bytes(sent) };
      rows.data.update(t("network.data"), t("network.dataValue", used));
      setAttribute(rows.data.value, "data-received", received);
      setAttribute(rows.data.value, "data-sent", sent);
    },
  };
}

function finalityText({ head }: State): string {
  if (head === null) return t("network.none");
  const { signers, committee } = head;
  if (signers === undefined) return t("network.verifiedPlain");
  if (committee === undefined) return t("network.verified", { signers });
  return t("network.verifiedOf", { signers, committee });
}

/** The peer whose path is shown: a direct one before a relayed one. */
function primary(peers: readonly Peer[]): Peer | undefined {
  return peers.find(({ path }) => path === "direct") ?? peers[0];
}

function pathText({ path, transport: kind, relayedBy }: Peer): string {
  const transport = TRANSPORTS[kind] ?? kind;
  if (path === "direct") return t("path.direct", { transport });
  if (relayedBy === undefined) return t("path.relayedPlain", { transport });
  return t("path.relayed", { transport, via: short(relayedBy) });
}

/** For example "5 (4 WebRTC, 1 WebSocket)". */
function peersText(peers: readonly Peer[]): string {
  const kinds = new Map<string, number>();
  for (const { transport } of peers) kinds.set(transport, (kinds.get(transport) ?? 0) + 1);
  const parts = [...kinds].map(([kind, number]) => `${number} ${TRANSPORTS[kind] ?? kind}`);
  return `${peers.length} (${parts.join(", ")})`;
}
