/** The page's Mexican Spanish. The type makes a missing key a compile error. */
import type { Messages } from "./en.js";

export const es: Messages = {
  "title": "Tequio",
  "title.with": "{state} · Tequio",
  "skip": "Saltar al contenido",
  "language": "English",
  "language.label": "English: change the language",
  "theme.label": "Colores: {theme}. Cambiar",
  "theme.auto": "como el dispositivo",
  "theme.light": "claros",
  "theme.dark": "oscuros",
  "meaning": "tequio, del náhuatl tequitl: el trabajo que una comunidad hace junta, para todos.",

  "hero.title": "Trabajo hecho entre todos, revisado por todos.",
  "hero.lead":
    "Navegadores y computadoras entrenan un mismo modelo. Cada resultado se recalcula antes de " +
    "contar, la red lo acuerda, y esta página verifica por sí misma cada respuesta.",

  "jobSummary.title": "Ahora se entrena",
  "jobSummary.titleLast": "El último trabajo",
  "jobSummary.none":
    "Ahora no se entrena ningún modelo. Cuando un miembro envíe un trabajo, aparecerá aquí.",
  "jobSummary.away":
    "Esta página lee de la red el entrenamiento en marcha y lo verifica. Oprime «Solo mirar y " +
    "verificar» para verlo antes de decidir.",
  "jobSummary.reading": "Leyendo de la red el entrenamiento en marcha…",
  "jobSummary.what": "Qué",
  "jobSummary.model": "un modelo llamado {name}, a partir de {rows}",
  "jobSummary.modelPlain": "un modelo llamado {name}",
  "jobSummary.dataset": "datos {cid}",
  "jobSummary.who": "Para",
  "jobSummary.coordinator": "{id}, que lo envió",
  "jobSummary.far": "Avance",
  "jobSummary.round": "ronda {round} de {rounds}",
  "jobSummary.roundAccuracy": "ronda {round} de {rounds}, {accuracy} de aciertos",
  "jobSummary.now": "Participan",
  "jobSummary.workers": "nodos completos: {full}, navegadores: {browsers} (en este momento)",
  "jobSummary.members": "miembros hasta ahora: {count}",
  "jobSummary.cost": "Lo que te cuesta",

  "join.title": "Echa una mano",
  "join.consent":
    "Unirte usa tu procesador, algo de batería y datos. Medido con un núcleo en un trabajo " +
    "largo: {down} de bajada y {up} de subida por minuto, cerca de {hour} por hora. Hace una " +
    "pausa al llegar a tu límite de {cap} al día.",
  "join.until": "Sigue hasta que lo detengas o cierres la pestaña.",
  "join.visible": "Los demás ven tu dirección de red y cuánto calculaste; nada más de ti.",
  "join.looking": "Solo mirar carga {code} una vez y después cerca de {watch} por minuto.",
  "join.settings": "Límites",
  "join.workers": "Núcleos que prestas",
  "join.cap": "Datos al día, máximo",
  "join.hidden": "Pausar mientras esta página está oculta",
  "join.metered": "Pausar con una conexión de uso medido",
  "join.battery": "También hace una pausa mientras la batería está baja.",
  "join.phone":
    "En un teléfono: un núcleo, y una pausa mientras la página está oculta o la batería está " +
    "baja.",
  "join.button": "Unirme y calcular",
  "join.watch": "Solo mirar y verificar",
  "join.connecting": "Conectando…",
  "join.loading": "Cargando el programa: {received} de {total}",
  "join.loadingPlain": "Cargando el programa: {received}",
  "join.stop": "Dejar de calcular",
  "join.start": "Calcular de nuevo",
  "join.leave": "Desconectar",
  "join.resume": "Seguir de todos modos",
  "join.noCheckpoint":
    "Este enlace no tiene punto de partida, o solo lo tiene en parte. Pide al operador de la red " +
    "un enlace que termine en #checkpoint=…: contiene la huella contra la que aquí se verifica " +
    "todo.",
  "join.retry": "Intentar de nuevo",

  "activity.off": "Mirando y verificando. Tu dispositivo no calcula nada.",
  "activity.waiting": "En espera de trabajo",
  "activity.waitingNoJob": "En espera de trabajo: ahora no hay ninguno en marcha",
  "activity.waitingJob":
    "En espera de trabajo: hay un entrenamiento en marcha, pero aún no llega ninguna parte a " +
    "esta pestaña",
  "activity.waitingNext":
    "En espera de trabajo: desde hace unos segundos no llega otra parte del entrenamiento en " +
    "marcha",
  "activity.computing": "Calculando {job}",
  "activity.computingPlain": "Calculando",
  "activity.rate": "{count} unidades por minuto",
  "activity.rateOne": "1 unidad por minuto",
  "activity.cores": "con {count} de tus núcleos",
  "activity.coresOne": "con uno de tus núcleos",
  "activity.paused.hidden": "En pausa porque la página está oculta",
  "activity.paused.battery": "En pausa porque la batería está baja",
  "activity.paused.metered":
    "En pausa porque la conexión es de uso medido, o tu navegador ahorra datos",
  "activity.paused.dataCap": "En pausa porque se acabó el límite de datos de hoy",
  "activity.paused.codeUnreachable":
    "En pausa porque el servidor de esta página no responde y así no puede iniciar ningún " +
    "proceso de cálculo. El cálculo empieza solo cuando el servidor responda. Deja abierta esta " +
    "página.",
  "activity.paused": "En pausa",
  "activity.disconnected": "Sin conexión (desde las {time}); se sigue intentando.",
  "activity.disconnected.codeUnreachable":
    "Sin conexión (desde las {time}). El relé y el servidor de esta página no responden. Se " +
    "sigue intentando: el cálculo empieza solo cuando respondan. Deja abierta esta página.",
  "activity.disconnected.noQuorum":
    "Hay conexión, pero no llega ningún bloque nuevo (el último, a las {time}). El trabajo " +
    "seguirá cuando la red avance de nuevo.",
  "activity.title.off": "Mirando",
  "activity.title.waiting": "En espera de trabajo",
  "activity.title.computing": "{job}: {count} unidades/min",
  "activity.title.computingPlain": "{count} unidades/min",
  "activity.title.paused": "En pausa",
  "activity.title.disconnected": "Sin conexión",
  "activity.title.noQuorum": "Sin bloques nuevos",
  "activity.title.connecting": "Conectando",

  "data.used": "Datos: {total} en esta visita, {rate} por minuto",
  "data.today": "Hoy {today} de {cap}",
  "data.todayPlain": "Hoy {today}",
  "data.projected": "a este paso, {projected} a medianoche",
  "data.reached": "a este paso, el límite se alcanza en {time}",
  "data.label": "Datos de hoy: {today} de {cap}",

  "clock.ahead":
    "El reloj de este dispositivo va {time} adelantado respecto a la red. Aquí las edades se " +
    "corrigen; ajusta el reloj para estar a salvo en otras partes.",
  "clock.behind":
    "El reloj de este dispositivo va {time} atrasado respecto a la red. Aquí las edades se " +
    "corrigen; ajusta el reloj para estar a salvo en otras partes.",
  "storage.visit":
    "Este navegador no guarda nada para esta página. Tu identidad y sus créditos duran solo esta " +
    "visita. Una ventana normal (no privada) con almacenamiento permitido los conserva.",
  "storage.lost":
    "La identidad que este navegador guardaba se perdió, así que trabajas con una nueva. El " +
    "trabajo de la anterior sigue registrado a su nombre.",

  "network.title": "Red",
  "network.height": "Bloque",
  "network.age": "hace {age}",
  "network.none": "Aún no hay un bloque verificado",
  "network.verified":
    "Definitivo, verificado por tu navegador: certificado de {signers} validadores",
  "network.verifiedOf":
    "Definitivo, verificado por tu navegador: certificado de {signers} de {committee} validadores",
  "network.verifiedPlain": "Definitivo, verificado por tu navegador con su certificado",
  "network.stale":
    "Modo reducido: no llegó ningún bloque nuevo en el intervalo de bloques de la red. Quizá hay " +
    "pocos validadores en línea, o los relés retienen los bloques nuevos. Los datos que se " +
    "muestran siguen probados.",
  "network.peers": "Pares",
  "network.peersNone": "ninguno aún",
  "network.path": "Camino",
  "path.direct": "{transport}, directo",
  "path.relayed": "{transport}, por el relé {via}",
  "path.relayedPlain": "{transport}, por un relé",
  "network.you": "Eres",
  "network.data": "Datos usados",
  "network.dataValue": "{down} de bajada, {up} de subida",

  "contribution.title": "Tu parte",
  "contribution.units": "unidades y revisiones aceptadas",
  "contribution.macs": "operaciones",
  "contribution.reputation": "reputación",
  "contribution.busy": "{count} en marcha",
  "contribution.computed": "{count} calculadas en esta visita",
  "contribution.note": "Una unidad cuenta solo después de que otro miembro la recalculó.",
  "contribution.shareFinal":
    "Hiciste el {share} de las operaciones de {job}, según lo registró su coordinador y lo " +
    "confirmó la red.",
  "contribution.shareNow":
    "Llevas hecho el {share} de las operaciones de {job}, según la cuenta de su coordinador.",
  "contribution.proof": "Guardar la prueba",
  "contribution.share": "Compartir la prueba",
  "contribution.proofNote":
    "La prueba es un archivo que cualquiera puede revisar sin esta página: el paquete tequio de " +
    "npm la verifica contra el punto de partida.",
  "contribution.shareText": "Hice el {share} de las operaciones del modelo {job}. Va la prueba.",

  "download.model": "Descargar el modelo",
  "download.record": "Descargar el registro",
  "download.working": "Leyendo y verificando…",
  "download.done": "{name} quedó guardado ({size}).",

  "training.title": "Entrenamiento",
  "training.none": "Aún no hay trabajos. Cuando un miembro envíe uno, su avance aparecerá aquí.",
  "training.away": "Únete, o solo mira, para ver qué entrena la red.",
  "training.choose": "Trabajo",
  "training.follow": "El que esté en marcha, o el más nuevo",
  "training.option": "{name}, {state}",
  "training.optionTime": "{name}, {state}, {time}",
  "training.state.pending": "calculado, en auditoría",
  "training.state.running": "en marcha",
  "training.state.final": "terminado y registrado",
  "training.state.failed": "falló",
  "training.state.cancelled": "cancelado",
  "training.reason": "Motivo: {reason}",
  "training.waits": "Espera {what}",
  "training.submitted": "Enviado: {time}",
  "training.round": "Ronda {round} de {rounds}",
  "training.units": "{units} unidades, {own} de ellas tuyas",
  "training.accuracy": "de aciertos en filas que el modelo no ha visto",
  "training.accuracyNone": "tras la primera ronda",
  "training.accuracyNoTestRows": "sin filas de prueba",
  "training.best": "lo mejor hasta ahora: {accuracy}",
  "curve.label":
    "Aciertos por ronda: {accuracy} en la ronda {round} de {rounds}, desde {first} al inicio.",
  "curve.empty": "La curva de aciertos se dibuja aquí al terminar la primera ronda.",
  "curve.axis.round": "ronda",
  "curve.axis.accuracy": "aciertos",
  "progressPattern.label":
    "El avance como un tejido: {done} de {rounds} rondas hechas, {own} de las unidades son tuyas.",
  "progressPattern.own": "tuyos",
  "progressPattern.others": "de los demás",

  "waiting.workers": "trabajadores: ninguno ha pedido trabajo al coordinador",
  "waiting.checker": "a un segundo trabajador que revise los resultados del primero",
  "waiting.data": "sus datos, que el coordinador está trayendo",
  "waiting.coordinator": "un informe de su coordinador",
  "waiting.ledger": "que su resultado entre al registro",
  "waiting.auditors": "a los auditores de su resultado",
  "waiting.quorum": "un quórum: por ahora ningún bloque queda definitivo",
  "ended.cancelled": "lo canceló su dueño",
  "ended.refuted": "una auditoría refutó su resultado",
  "ended.unaudited": "su resultado no se auditó a tiempo",

  "contributors.title": "Quiénes lo hicieron",
  "contributors.none":
    "El registro de todas las contribuciones se guarda junto con el modelo. Mientras tanto, esta " +
    "lista muestra la cuenta del coordinador.",
  "contributors.list": "Participantes",
  "contributors.id": "Miembro",
  "contributors.units": "Unidades",
  "contributors.checks": "Revisiones",
  "contributors.macs": "Operaciones",
  "contributors.you": "tú",

  "draw.title": "Dibuja un dígito",
  "draw.lead":
    "El modelo que todos entrenaron, leído por su nombre, probado, y ejecutado en tu navegador.",
  "draw.waiting":
    "Aún no hay modelo. Cuando un trabajo termine y quede registrado, su modelo verificado " +
    "responderá aquí.",
  "draw.waitingRound":
    "Aún no hay modelo: el trabajo va en la ronda {round} de {rounds}. Cuando termine y quede " +
    "registrado, su modelo verificado responderá aquí.",
  "draw.away": "Aquí aún no hay modelo. Únete, o solo mira, para leer uno.",
  "draw.loading": "Leyendo el modelo y revisando su prueba…",
  "draw.failed": "No se pudo leer el modelo. {message}",
  "draw.noModel": "Aún no hay modelo",
  "draw.canvas":
    "Pizarra de 16 por 16 celdas. Dibuja con el dedo o el ratón. Con el teclado: las flechas " +
    "mueven, el espacio pinta, Mayús con una flecha pinta al mover, Supr borra todo.",
  "draw.keys": "Teclado: flechas mueven, espacio pinta, Mayús + flecha pinta al mover, Supr borra.",
  "draw.cursor": "Columna {x}, fila {y}",
  "draw.clear": "Borrar",
  "draw.empty": "Dibuja un dígito del 0 al 9",
  "draw.titleValues": "Pregunta al modelo",
  "draw.emptyValues": "Escribe una fila de números",
  "draw.answer": "Respuesta del modelo: {label}",
  "draw.confidence": "con una confianza de {confidence}",
  "draw.input": "La entrada del modelo",
  "draw.columns": "El modelo {name} toma estos valores:",
  "draw.range": "usual: de {low} a {high}",
  "draw.valueBad": "Falta un número en {column}.",
  "draw.values":
    "Este modelo toma {features} números. Escríbelos separados por espacios o puntos y comas:",
  "draw.valuesBad": "Se necesitan {features} números; se pudieron leer {given}.",
  "draw.ask": "Preguntar al modelo",
  "draw.verified":
    "Verificado: calculado como se especificó; esto no dice nada sobre la honestidad de los " +
    "datos.",
  "draw.accuracy": "{name}: {accuracy} de aciertos en filas que no había visto",
  "draw.cid": "Modelo",

  "log.title": "Qué ha pasado",
  "log.none":
    "Nada inusual hasta ahora. Esta lista nombra los resultados rechazados y los pares que " +
    "envían datos falsos.",
  "log.times": "{count} veces, la primera a las {time}",
  "log.technical": "Notas técnicas",
  "log.connected": "Conexión establecida como {node}.",
  "log.offline": "Se perdió la conexión con la red.",
  "log.online": "Hay conexión de nuevo.",
  "log.rejected":
    "Se rechazó por falso un resultado de {worker}, según informa esta red (ronda {round}, " +
    "unidad {unit}): {reason}. La unidad pasó a otro.",
  "log.late":
    "Un resultado llegó tarde, o se cerró su pestaña (ronda {round}, unidad {unit}). La unidad " +
    "pasó a otro; no es culpa de nadie.",
  "log.refused":
    "Se rechazó un resultado de {worker} (ronda {round}, unidad {unit}): {reason}. La unidad " +
    "pasó a otro.",
  "log.withheld":
    "{worker} no mostró su trabajo cuando otro resultado no coincidía (ronda {round}, unidad " +
    "{unit}). La unidad pasó a otro.",
  "log.invalidData": "{peer} envió algo falso ({what}). Se rechazó y se preguntó a otra fuente.",
  "log.forkEvidence":
    "Advertencia: dos certificados se contradicen ({detail}). No confíes en este bloque hasta " +
    "que una persona lo revise.",
  "log.stale": "No llegó ningún bloque nuevo en el intervalo de bloques de la red.",
  "log.fresh": "Llegan bloques nuevos otra vez.",
  "log.direct": "{peer} se alcanza directamente por {transport}.",
  "log.relayed": "{peer} se alcanza por {transport} a través de {via}.",
  "log.peerGone": "La conexión con {peer} terminó.",
  "log.workerReplaced": "Un proceso de cálculo falló o no inició, y se reemplazó.",
  "log.codeUnreachable":
    "El servidor de esta página no responde y así no puede iniciar ningún proceso de cálculo. El " +
    "cálculo lo espera.",
  "log.workersDead": "No se puede iniciar ningún proceso de cálculo.",
  "log.storage.visit": "No se puede guardar nada: la identidad dura esta visita.",
  "log.storage.reopened": "El navegador cerró el almacenamiento; ya está abierto otra vez.",
  "log.storage.identityLost": "La identidad guardada se perdió; esta es nueva.",
  "log.modelRead": "El modelo de {job} se leyó y se verificó.",
  "log.line": "{message}",

  "reason.step": "un paso está mal calculado, como prueba una repetición",
  "reason.delta": "la suma no es la de sus pasos",
  "reason.opening": "el resultado no es el que se había comprometido",
  "reason.malformed": "no tiene la forma de un resultado",
  "reason.state": "el estado en disputa no es el que se había comprometido",
  "reason.product": "un producto de matrices es falso",
  "reason.time": "no llegó a tiempo",
  "reason.other": "{reason}",

  "invalid.header": "encabezado de bloque",
  "invalid.certificate": "certificado",
  "invalid.proof": "prueba",
  "invalid.object": "objeto",
  "invalid.committee": "comité",
  "invalid.chain": "cadena",
  "invalid.answer": "respuesta a algo que no se preguntó",
  "invalid.encoding": "mensaje que no se puede leer",

  "trust.title": "En quién confías aquí",
  "trust.code":
    "El código de esta página viene de {origin}. Confías en ese origen para el código, como en " +
    "toda página web.",
  "trust.data":
    "Los relés llevan los datos y no se confía en ellos para nada: cada encabezado, prueba y " +
    "modelo se revisa aquí contra el punto de partida de tu enlace.",
  "trust.checkpoint": "Punto de partida",
  "trust.noCheckpoint": "este enlace no tiene",
  "trust.operator": "Según este relé, lo opera",
  "links.label": "Acerca de Tequio",
  "links.source": "Código fuente",
  "links.docs": "Cómo funciona",
  "links.licence": "Licencia: MIT o Apache-2.0",

  "error.title": "Esto no funcionó",
  "error.details": "Detalles técnicos",
  "error.INSECURE_ORIGIN":
    "El navegador no considera seguro el origen {origin}, así que no puede proteger la clave del " +
    "nodo. Abre la página por https (el relé acepta --tls-cert y --tls-key), o en la misma " +
    "máquina como http://127.0.0.1.",
  "error.NO_RELAY":
    "Ningún relé respondió. Revisa tu conexión, y si permite WebSocket o WebRTC; luego intenta " +
    "de nuevo. Si sigue igual, pregunta al operador de la red si el relé está en marcha.",
  "error.CHECKPOINT_REQUIRED":
    "Este enlace no tiene punto de partida. Pide al operador de la red un enlace que termine en " +
    "#checkpoint=….",
  "error.CHECKPOINT_MISMATCH":
    "El punto de partida que sirve este origen no es el que nombra tu enlace. Se rechazó. Pide " +
    "otra vez el enlace a una persona de confianza.",
  "error.CHECKPOINT_UNREACHABLE":
    "No se pudo obtener el punto de partida de este origen. Revisa tu conexión e intenta de " +
    "nuevo; si sigue igual, avisa a su operador.",
  "error.BAD_CHECKPOINT":
    "El punto de partida de este enlace no se puede leer. Pide al operador de la red un enlace " +
    "más nuevo.",
  "error.STALE_CHECKPOINT":
    "El punto de partida de este enlace es demasiado viejo para ser seguro. Pide un enlace más " +
    "nuevo.",
  "error.OTHER_NETWORK":
    "El punto de partida de este enlace no es de la misma red que el relé. Pide un enlace nuevo " +
    "al operador de la red.",
  "error.STALE_CHECKPOINT.clock":
    "Según el reloj de este dispositivo el punto de partida del enlace es demasiado viejo, pero " +
    "ese reloj va {time} {direction} respecto al servidor de esta página. Ajusta el reloj y " +
    "recarga la página.",
  "error.clock.ahead": "adelantado",
  "error.clock.behind": "atrasado",
  "error.WELL_KNOWN":
    "No se pudo obtener la lista de relés. Revisa tu conexión e intenta de nuevo; si sigue " +
    "igual, el relé de esta página no está en marcha.",
  "error.UNSUPPORTED":
    "Este navegador, o la política de esta página, no permite una función que el nodo necesita. " +
    "Actualiza el navegador, o prueba con Firefox, Chrome, Edge o Safari 16.4 o más nuevo.",
  "error.CSP_BLOCKED":
    "La política de esta página ({directive}) prohíbe la conexión a {url}. El operador de esta " +
    "página debe permitirla; la página propia de un relé lo hace.",
  "error.CODE_UNREACHABLE":
    "No se pudo cargar el programa desde {origin}. Revisa tu conexión e intenta de nuevo; si " +
    "sigue igual, avisa al operador de esta página.",
  "error.ABORTED": "La acción se detuvo antes de terminar. Intenta de nuevo.",
  "error.BAD_OPTIONS":
    "El enlace tiene una opción que esta página no admite. Revisa la dirección, sobre todo la " +
    "parte después de ?relay=.",
  "error.TIMEOUT": "Ningún par respondió a tiempo. Intenta de nuevo en un momento.",
  "error.UNAVAILABLE":
    "Ningún par conectado pudo responder. La página lo intenta de nuevo; otro relé puede ayudar.",
  "error.NOT_FOUND": "La red prueba que la entrada pedida no existe, o aún no.",
  "error.VERIFICATION_FAILED":
    "Todas las fuentes conectadas dieron datos falsos, y se rechazaron. Agrega otro relé al " +
    "enlace (?relay=…).",
  "error.BAD_OBJECT":
    "El archivo no corresponde a su dirección de contenido, y se rechazó. Avisa al miembro que " +
    "envió el trabajo.",
  "error.FORKED":
    "Dos certificados se contradicen. No confíes en esta red hasta que sus operadores lo " +
    "expliquen.",
  "error.CLOSED": "La conexión se cerró. Únete de nuevo.",
  "error.STORAGE":
    "El almacenamiento del navegador falló. Libera espacio, cierra otras pestañas de esta " +
    "página, o permite el almacenamiento para este sitio; luego recarga.",
  "error.WORKER":
    "El navegador no puede iniciar procesos de cálculo. Recarga la página; si sigue igual, " +
    "revisa si una extensión los bloquea.",
  "error.reloadLater":
    "No recargues mientras la página esté sin conexión: puede que su servidor tampoco responda.",
  "error.UNIT_FAILED":
    "No se pudo calcular aquí una unidad de trabajo. El coordinador la pasa a otro miembro.",
  "error.INTERNAL":
    "Ocurrió un error inesperado en esta página. Recárgala; si vuelve a pasar, repórtalo con los " +
    "detalles técnicos de abajo.",
  "error.other":
    "El motivo está en los detalles técnicos de abajo. Recarga la página; si vuelve a pasar, " +
    "repórtalo.",
};
