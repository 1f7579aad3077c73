/** The page's English. The keys of this object are the keys of every language. */
export const en = {
  "title": "Tequio",
  "title.with": "{state} · Tequio",
  "skip": "Skip to the content",
  "language": "Español",
  "language.label": "Español: cambiar el idioma",
  "theme.label": "Colours: {theme}. Change",
  "theme.auto": "as the device",
  "theme.light": "light",
  "theme.dark": "dark",
  "meaning": "tequio, from Nahuatl tequitl: work a community does together, for all.",

  "hero.title": "Work done together, checked by everyone.",
  "hero.lead":
    "Browsers and computers train one model. Each result is recomputed before it counts, the " +
    "network agrees on it, and this page verifies every answer by itself.",

  "jobSummary.title": "Now in training",
  "jobSummary.titleLast": "The last job",
  "jobSummary.none": "No model is in training now. When a member submits a job, it appears here.",
  "jobSummary.away":
    "This page reads the running training from the network and verifies it. Press “Only look and " +
    "verify” to see it before you decide.",
  "jobSummary.reading": "Reading the running training from the network…",
  "jobSummary.what": "What",
  "jobSummary.model": "a model called {name}, from {rows}",
  "jobSummary.modelPlain": "a model called {name}",
  "jobSummary.dataset": "data set {cid}",
  "jobSummary.who": "For",
  "jobSummary.coordinator": "{id}, who submitted it",
  "jobSummary.far": "How far",
  "jobSummary.round": "round {round} of {rounds}",
  "jobSummary.roundAccuracy": "round {round} of {rounds}, {accuracy} right",
  "jobSummary.now": "Taking part",
  "jobSummary.workers": "full nodes: {full}, browsers: {browsers} (at this moment)",
  "jobSummary.members": "members so far: {count}",
  "jobSummary.cost": "What it costs you",

  "join.title": "Lend a hand",
  "join.consent":
    "Joining uses your processor, some battery, and data. Measured with one core on a long job: " +
    "{down} down and {up} up a minute, about {hour} an hour. It pauses at your limit of {cap} a " +
    "day.",
  "join.until": "It continues until you stop it or close the tab.",
  "join.visible":
    "Others see your network address and how much you computed, nothing else of yours.",
  "join.looking": "Looking alone loads {code} once and then about {watch} a minute.",
  "join.settings": "Limits",
  "join.workers": "Cores to lend",
  "join.cap": "Data a day, at most",
  "join.hidden": "Pause while this page is hidden",
  "join.metered": "Pause on a metered connection",
  "join.battery": "It also pauses while the battery is low.",
  "join.phone": "On a phone: one core, and a pause while the page is hidden or the battery is low.",
  "join.button": "Join and compute",
  "join.watch": "Only look and verify",
  "join.connecting": "Connecting…",
  "join.loading": "Loading the program: {received} of {total}",
  "join.loadingPlain": "Loading the program: {received}",
  "join.stop": "Stop computing",
  "join.start": "Compute again",
  "join.leave": "Disconnect",
  "join.resume": "Continue anyway",
  "join.noCheckpoint":
    "This link has no starting point, or only part of one. Ask the operator of the network for a " +
    "link that ends in #checkpoint=…: it holds the fingerprint that everything here is verified " +
    "against.",
  "join.retry": "Try again",

  "activity.off": "Looking and verifying. Your device computes nothing.",
  "activity.waiting": "Waiting for work",
  "activity.waitingNoJob": "Waiting for work: no job is running now",
  "activity.waitingJob":
    "Waiting for work: a job is running, but no part of it has come to this tab yet",
  "activity.waitingNext":
    "Waiting for work: no further part of the running job has come for some seconds",
  "activity.computing": "Computing {job}",
  "activity.computingPlain": "Computing",
  "activity.rate": "{count} units a minute",
  "activity.rateOne": "1 unit a minute",
  "activity.cores": "on {count} of your cores",
  "activity.coresOne": "on one of your cores",
  "activity.paused.hidden": "Paused because the page is hidden",
  "activity.paused.battery": "Paused because the battery is low",
  "activity.paused.metered": "Paused because the connection is metered, or your browser saves data",
  "activity.paused.dataCap": "Paused because today's data limit is used up",
  "activity.paused.codeUnreachable":
    "Paused because the server of this page does not answer, so no compute worker can start. " +
    "Computing starts by itself when the server answers. Keep this page open.",
  "activity.paused": "Paused",
  "activity.disconnected": "Not connected since {time}. Trying again.",
  "activity.disconnected.codeUnreachable":
    "Not connected since {time}. The relay and the server of this page do not answer. Trying " +
    "again: computing starts by itself when they answer. Keep this page open.",
  "activity.disconnected.noQuorum":
    "Connected, but no new block has come (the last one at {time}). Work continues when the " +
    "network does.",
  "activity.title.off": "Looking",
  "activity.title.waiting": "Waiting for work",
  "activity.title.computing": "{job}: {count} units/min",
  "activity.title.computingPlain": "{count} units/min",
  "activity.title.paused": "Paused",
  "activity.title.disconnected": "Not connected",
  "activity.title.noQuorum": "No new block",
  "activity.title.connecting": "Connecting",

  "data.used": "Data: {total} in this visit, {rate} a minute",
  "data.today": "Today {today} of {cap}",
  "data.todayPlain": "Today {today}",
  "data.projected": "at this rate {projected} by midnight",
  "data.reached": "at this rate the limit is reached in {time}",
  "data.label": "Data of today: {today} of {cap}",

  "clock.ahead":
    "The clock of this device is {time} ahead of the network's. Ages are corrected here; set the " +
    "clock to be safe elsewhere.",
  "clock.behind":
    "The clock of this device is {time} behind the network's. Ages are corrected here; set the " +
    "clock to be safe elsewhere.",
  "storage.visit":
    "This browser stores nothing for this page. Your identity and its credits last for this " +
    "visit only. A normal window (not a private one) with storage allowed keeps them.",
  "storage.lost":
    "The identity that this browser stored is gone, so you work under a new one. The work of the " +
    "old identity stays recorded under its name.",

  "network.title": "Network",
  "network.height": "Block",
  "network.age": "{age} ago",
  "network.none": "No block verified yet",
  "network.verified": "Final, verified by your browser: certificate of {signers} validators",
  "network.verifiedOf":
    "Final, verified by your browser: certificate of {signers} of {committee} validators",
  "network.verifiedPlain": "Final, verified by your browser by its certificate",
  "network.stale":
    "Reduced mode: no new block within the network's block interval. Too few validators may be " +
    "running, or the relays may withhold new blocks. The data shown here stays proved.",
  "network.peers": "Peers",
  "network.peersNone": "none yet",
  "network.path": "Path",
  "path.direct": "{transport}, direct",
  "path.relayed": "{transport}, through relay {via}",
  "path.relayedPlain": "{transport}, through a relay",
  "network.you": "You are",
  "network.data": "Data used",
  "network.dataValue": "{down} down, {up} up",

  "contribution.title": "Your part",
  "contribution.units": "units and checks accepted",
  "contribution.macs": "operations",
  "contribution.reputation": "reputation",
  "contribution.busy": "{count} at work now",
  "contribution.computed": "{count} computed in this visit",
  "contribution.note": "A unit counts only after another member has recomputed it.",
  "contribution.shareFinal":
    "You did {share} of the operations for {job}, as its coordinator recorded and the network " +
    "committed.",
  "contribution.shareNow":
    "You did {share} of the operations for {job} so far, as its coordinator counts.",
  "contribution.proof": "Keep the proof",
  "contribution.share": "Share the proof",
  "contribution.proofNote":
    "The proof is a file that anyone can check without this page: the npm package tequio " +
    "verifies it against the starting point.",
  "contribution.shareText":
    "I did {share} of the operations for the model {job}. The proof is attached.",

  "download.model": "Download the model",
  "download.record": "Download the record",
  "download.working": "Reading and verifying…",
  "download.done": "{name} is saved ({size}).",

  "training.title": "Training",
  "training.none": "No job yet. When a member submits one, its progress appears here.",
  "training.away": "Join, or only look, to see what the network is training.",
  "training.choose": "Job",
  "training.follow": "The running job, or the newest",
  "training.option": "{name}, {state}",
  "training.optionTime": "{name}, {state}, {time}",
  "training.state.pending": "computed, being audited",
  "training.state.running": "running",
  "training.state.final": "finished and committed",
  "training.state.failed": "failed",
  "training.state.cancelled": "cancelled",
  "training.reason": "Reason: {reason}",
  "training.waits": "Waits for {what}",
  "training.submitted": "Submitted {time}",
  "training.round": "Round {round} of {rounds}",
  "training.units": "{units} units, {own} of them yours",
  "training.accuracy": "accuracy on rows the model has not seen",
  "training.accuracyNone": "after the first round",
  "training.accuracyNoTestRows": "no test rows",
  "training.best": "best so far {accuracy}",
  "curve.label":
    "Accuracy per round: {accuracy} in round {round} of {rounds}, from {first} at the start.",
  "curve.empty": "The accuracy curve is drawn here once the first round is done.",
  "curve.axis.round": "round",
  "curve.axis.accuracy": "accuracy",
  "progressPattern.label":
    "The progress as a woven pattern: {done} of {rounds} rounds done, {own} of the units yours.",
  "progressPattern.own": "yours",
  "progressPattern.others": "the others'",

  "waiting.workers": "workers: none has asked the coordinator for work",
  "waiting.checker": "a second worker to check the results of the first",
  "waiting.data": "its data, which the coordinator is fetching",
  "waiting.coordinator": "a report from its coordinator",
  "waiting.ledger": "its result to enter the ledger",
  "waiting.auditors": "the auditors of its result",
  "waiting.quorum": "a quorum: no block becomes final at present",
  "ended.cancelled": "its owner cancelled it",
  "ended.refuted": "an audit refuted its result",
  "ended.unaudited": "its result was not audited in time",

  "contributors.title": "Who did it",
  "contributors.none":
    "The record of all contributions is committed together with the model. Until then this list " +
    "shows the coordinator's count.",
  "contributors.list": "Contributors",
  "contributors.id": "Member",
  "contributors.units": "Units",
  "contributors.checks": "Checks",
  "contributors.macs": "Operations",
  "contributors.you": "you",

  "draw.title": "Draw a digit",
  "draw.lead": "The model that everyone trained, read by name, proved, and run in your browser.",
  "draw.waiting":
    "There is no model yet. When a job is finished and committed, its verified model answers " +
    "here.",
  "draw.waitingRound":
    "There is no model yet: the job is in round {round} of {rounds}. When it is finished and " +
    "committed, its verified model answers here.",
  "draw.away": "There is no model here yet. Join, or only look, to read one.",
  "draw.loading": "Reading the model and checking its proof…",
  "draw.failed": "The model could not be read. {message}",
  "draw.noModel": "No model yet",
  "draw.canvas":
    "Drawing board, 16 by 16 cells. Draw with a finger or the mouse. By keyboard: arrow keys " +
    "move, space paints, Shift with an arrow paints while moving, Delete clears.",
  "draw.keys": "Keyboard: arrows move, space paints, Shift + arrow paints along, Delete clears.",
  "draw.cursor": "Column {x}, row {y}",
  "draw.clear": "Clear",
  "draw.empty": "Draw a digit from 0 to 9",
  "draw.titleValues": "Ask the model",
  "draw.emptyValues": "Enter a row of numbers",
  "draw.answer": "The model's answer: {label}",
  "draw.confidence": "with a confidence of {confidence}",
  "draw.input": "The model's input",
  "draw.columns": "The model {name} takes these values:",
  "draw.range": "usual: {low} to {high}",
  "draw.valueBad": "{column} needs a number.",
  "draw.values":
    "This model takes {features} numbers. Enter them, separated by spaces or semicolons:",
  "draw.valuesBad": "{features} numbers are needed; {given} could be read.",
  "draw.ask": "Ask the model",
  "draw.verified":
    "Verified: computed as specified; this says nothing about the honesty of the data.",
  "draw.accuracy": "{name}: {accuracy} right on rows it had not seen",
  "draw.cid": "Model",

  "log.title": "What happened",
  "log.none":
    "Nothing unusual so far. This list names refused results, and peers that send false data.",
  "log.times": "{count} times, first at {time}",
  "log.technical": "Technical notes",
  "log.connected": "Connected as {node}.",
  "log.offline": "The connection to the network was lost.",
  "log.online": "Connected again.",
  "log.rejected":
    "A result of {worker} was refused as false, as this network reports (round {round}, unit " +
    "{unit}): {reason}. The unit went to another.",
  "log.late":
    "A result came late, or its tab was closed (round {round}, unit {unit}). The unit went to " +
    "another; no one is to blame.",
  "log.refused":
    "A result of {worker} was refused (round {round}, unit {unit}): {reason}. The unit went to " +
    "another.",
  "log.withheld":
    "{worker} did not show its work when another result differed (round {round}, unit {unit}). " +
    "The unit went to another.",
  "log.invalidData": "{peer} sent a wrong {what}. It was refused, and another source was asked.",
  "log.forkEvidence":
    "Warning: two certificates contradict each other ({detail}). Do not trust this head until a " +
    "person has checked it.",
  "log.stale": "No new block within the network's block interval.",
  "log.fresh": "New blocks arrive again.",
  "log.direct": "{peer} is reached directly by {transport}.",
  "log.relayed": "{peer} is reached by {transport} through {via}.",
  "log.peerGone": "The connection to {peer} ended.",
  "log.workerReplaced": "A compute worker crashed or did not start, and was replaced.",
  "log.codeUnreachable":
    "The server of this page does not answer, so no compute worker can start. Computing waits " +
    "for it.",
  "log.workersDead": "No compute worker can be started.",
  "log.storage.visit": "Nothing can be stored: the identity lasts for this visit.",
  "log.storage.reopened": "The browser closed the storage; it is open again.",
  "log.storage.identityLost": "The stored identity is gone; this is a new one.",
  "log.modelRead": "The model of {job} was read and verified.",
  "log.line": "{message}",

  "reason.step": "a step was computed wrongly, as a replay proves",
  "reason.delta": "the sum is not that of its steps",
  "reason.opening": "the result is not the one committed to",
  "reason.malformed": "it does not have the form of a result",
  "reason.state": "the disputed state is not the one committed to",
  "reason.product": "a matrix product is wrong",
  "reason.time": "it did not arrive in time",
  "reason.other": "{reason}",

  "invalid.header": "block header",
  "invalid.certificate": "certificate",
  "invalid.proof": "proof",
  "invalid.object": "object",
  "invalid.committee": "committee",
  "invalid.chain": "chain",
  "invalid.answer": "answer to a question that was not asked",
  "invalid.encoding": "message that cannot be read",

  "trust.title": "Whom you trust here",
  "trust.code":
    "The code of this page comes from {origin}. You trust that origin for the code, as with " +
    "every web page.",
  "trust.data":
    "Relays carry the data and are trusted for nothing: every header, proof and model is checked " +
    "here against the starting point of your link.",
  "trust.checkpoint": "Starting point",
  "trust.noCheckpoint": "none in this link",
  "trust.operator": "According to this relay, its operator is",
  "links.label": "About Tequio",
  "links.source": "Source code",
  "links.docs": "How it works",
  "links.licence": "Licence: MIT or Apache-2.0",

  "error.title": "This did not work",
  "error.details": "Technical details",
  "error.INSECURE_ORIGIN":
    "The browser does not treat {origin} as a secure origin, so the node's key cannot be " +
    "protected. Open the page over https (the relay takes --tls-cert and --tls-key), or on the " +
    "machine itself as http://127.0.0.1.",
  "error.NO_RELAY":
    "No relay answered. Check your connection, and whether it allows WebSocket or WebRTC. Then " +
    "try again. If that does not help, ask the operator of the network whether the relay is up.",
  "error.CHECKPOINT_REQUIRED":
    "This link has no starting point. Ask the operator of the network for a link that ends in " +
    "#checkpoint=….",
  "error.CHECKPOINT_MISMATCH":
    "The starting point that this origin serves is not the one that your link names. It was " +
    "refused. Ask a person you trust for the link again.",
  "error.CHECKPOINT_UNREACHABLE":
    "The starting point could not be fetched from this origin. Check your connection and try " +
    "again; if that does not help, tell its operator.",
  "error.BAD_CHECKPOINT":
    "The starting point of this link cannot be read. Ask the operator of the network for a newer " +
    "link.",
  "error.STALE_CHECKPOINT":
    "The starting point of this link is too old to be safe. Ask for a newer link.",
  "error.OTHER_NETWORK":
    "The starting point of this link belongs to a different network than the relay. Ask the " +
    "operator of the network for a new link.",
  "error.STALE_CHECKPOINT.clock":
    "By the clock of this device the starting point of the link is too old, but that clock is " +
    "{time} {direction} this page's server. Set the clock, then reload the page.",
  "error.clock.ahead": "ahead of",
  "error.clock.behind": "behind",
  "error.WELL_KNOWN":
    "The list of relays could not be fetched. Check your connection and try again; if that does " +
    "not help, the relay of this page is down.",
  "error.UNSUPPORTED":
    "This browser, or the policy of this page, does not allow a feature that the node needs. " +
    "Update the browser, or try Firefox, Chrome, Edge or Safari 16.4 or newer.",
  "error.CSP_BLOCKED":
    "The policy of this page ({directive}) forbids the connection to {url}. The operator of this " +
    "page must allow it; a relay's own page does.",
  "error.CODE_UNREACHABLE":
    "The program could not be loaded from {origin}. Check your connection and try again; if that " +
    "does not help, tell the operator of this page.",
  "error.ABORTED": "The action was stopped before it was complete. Try again.",
  "error.BAD_OPTIONS":
    "The link has an option that this page does not support. Check the address, especially the " +
    "part after ?relay=.",
  "error.TIMEOUT": "No peer answered in time. Try again in a moment.",
  "error.UNAVAILABLE":
    "No connected peer could answer. The page tries again by itself; another relay may help.",
  "error.NOT_FOUND": "The network proves that the requested entry does not exist, or not yet.",
  "error.VERIFICATION_FAILED":
    "Every connected source sent false data, and it was refused. Add another relay to the link " +
    "(?relay=…).",
  "error.BAD_OBJECT":
    "The file does not match its content address, and it was refused. Tell the member that " +
    "submitted the job.",
  "error.FORKED":
    "Two certificates contradict each other. Do not trust this network until its operators have " +
    "explained it.",
  "error.CLOSED": "The connection was closed. Join again.",
  "error.STORAGE":
    "The browser's storage failed. Free some space, close other tabs of this page, or allow " +
    "storage for this site; then reload.",
  "error.WORKER":
    "The browser cannot start compute workers. Reload the page; if that does not help, check " +
    "whether an extension blocks workers.",
  "error.reloadLater":
    "Do not reload while the page is not connected: its server may not answer either.",
  "error.UNIT_FAILED":
    "A unit of work could not be computed here. The coordinator gives it to another member.",
  "error.INTERNAL":
    "An unexpected error occurred in this page. Reload it; if it happens again, report it with " +
    "the technical details below.",
  "error.other":
    "The reason is in the technical details below. Reload the page; if it happens again, report " +
    "it.",
};

export type Messages = typeof en;
export type MessageKey = keyof Messages;
