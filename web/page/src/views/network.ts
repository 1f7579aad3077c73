/** The verified head, how it became final, the peers and the way to them, and the data used. */
import type { Peer } from "tequio";
import type { View } from "../app.js";
import { h, say, set, show } from "../dom.js";
import { age, bytes, count, short } from "../format.js";
import { t } from "../i18n/index.js";
import type { State } from "../state.js";

const TRANSPORTS: Record<string, string> = { webrtc: "WebRTC", websocket: "WebSocket", webtransport: "WebTransport", tcp: "TCP", quic: "QUIC" };

export function networkView(): View {
  const title = h("h2", { id: "network-title" });
  const height = h("b", { "data-testid": "head-height" });
  const heightLabel = h("span", { class: "label" });
  const headAge = h("span", { class: "age" });
  const finality = h("p", { class: "finality", "data-testid": "finality" });
  const stale = h("p", { class: "notice", role: "status", "data-testid": "stale" });
  const rows = {
    path: row("path"),
    peers: row("peers"),
    you: row("node"),
    data: row("data-used"),
  };
  return {
    element: h(
      "section",
      { class: "network", "aria-labelledby": "network-title" },
      title,
      h("p", { class: "head" }, heightLabel, height, headAge),
      finality,
      stale,
      h("dl", {}, ...Object.values(rows).map(({ element }) => element)),
    ),
    update(state) {
      const { head, peers } = state;
      say(title, t("network.title"));
      say(heightLabel, t("network.height"));
      say(height, head === null ? "–" : count(head.height));
      set(height, "data-height", head?.height);
      set(height, "title", head?.hash);
      say(headAge, head === null ? "" : t("network.age", { age: age(Date.now() - head.timeMs) }));
      say(finality, finalityText(state));
      set(finality, "data-verified", head !== null);
      say(stale, t("network.stale"));
      show(stale, state.stale);
      const first = primary(peers);
      rows.path.update(t("network.path"), first === undefined ? "–" : pathText(first));
      set(rows.path.value, "data-path", first?.path);
      set(rows.path.value, "data-transport", first?.transport);
      rows.peers.update(t("network.peers"), peers.length === 0 ? t("network.peersNone") : peersText(peers));
      set(rows.peers.value, "data-count", peers.length);
      rows.you.update(t("network.you"), state.node === null ? "–" : short(state.node));
      set(rows.you.value, "title", state.node);
      rows.data.update(t("network.data"), t("network.dataValue", { down: bytes(state.bytes.received), up: bytes(state.bytes.sent) }));
      set(rows.data.value, "data-received", state.bytes.received);
      set(rows.data.value, "data-sent", state.bytes.sent);
    },
  };
}

function row(testId: string) {
  const term = h("dt");
  const value = h("dd", { "data-testid": testId });
  return {
    element: h("div", {}, term, value),
    value,
    update(label: string, text: string) {
      say(term, label);
      say(value, text);
    },
  };
}

function finalityText({ head }: State): string {
  if (head === null) return t("network.none");
  if (head.signers === undefined) return t("network.verifiedPlain");
  if (head.committee === undefined) return t("network.verified", { signers: head.signers });
  return t("network.verifiedOf", { signers: head.signers, committee: head.committee });
}

/** The peer that stands for the path: a direct one before a relayed one. */
function primary(peers: readonly Peer[]): Peer | undefined {
  return peers.find(({ path }) => path === "direct") ?? peers[0];
}

function pathText(peer: Peer): string {
  const transport = TRANSPORTS[peer.transport] ?? peer.transport;
  if (peer.path === "direct") return t("path.direct", { transport });
  return peer.relayedBy === undefined ? t("path.relayedPlain", { transport }) : t("path.relayed", { transport, via: short(peer.relayedBy) });
}

/** "5: 4 WebRTC, 1 WebSocket" */
function peersText(peers: readonly Peer[]): string {
  const kinds = new Map<string, number>();
  for (const { transport } of peers) kinds.set(transport, (kinds.get(transport) ?? 0) + 1);
  const parts = [...kinds].map(([transport, number]) => `${number} ${TRANSPORTS[transport] ?? transport}`);
  return `${peers.length} (${parts.join(", ")})`;
}
