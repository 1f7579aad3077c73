/**
 * A React component that computes for a Tequio network once the person agrees, shows its activity,
 * and runs the newest finished model. The tests compile it under `tsc --strict` and run it in
 * Chromium against a network.
 */
import { useEffect, useState } from "react";
import { connect, type Activity, type ConnectOptions, type Model, type TequioNode } from "tequio";

/**
 * A node for as long as the component is mounted. `options` must be the same object in every
 * render.
 */
export function useTequio(options: ConnectOptions): {
  node: TequioNode | null;
  error: Error | null;
} {
  const [node, setNode] = useState<TequioNode | null>(null);
  const [error, setError] = useState<Error | null>(null);
  useEffect(() => {
    // React mounts twice in development: each mount starts and ends its own node.
    const abort = new AbortController();
    const connecting = connect({ ...options, signal: abort.signal });
    connecting.then(setNode, (failure: Error) => {
      if (failure.name !== "AbortError") setError(failure);
    });
    return () => {
      abort.abort();
      setNode(null);
      void connecting.then((node) => node.close()).catch(() => {});
    };
  }, [options]);
  return { node, error };
}

/** The node's activity, or null before it is known. */
export function useActivity(node: TequioNode | null): Activity | null {
  const [activity, setActivity] = useState<Activity | null>(null);
  useEffect(() => {
    setActivity(node?.status().activity ?? null);
    return node?.on("activity", setActivity);
  }, [node]);
  return activity;
}

/** The model of the newest finished training, or null while there is none. */
export function useModel(node: TequioNode | null): Model | null {
  const [model, setModel] = useState<Model | null>(null);
  useEffect(() => {
    if (node === null) return;
    let current: Model | null = null;
    let ended = false;
    const read = async () => {
      const done = (await node.jobs()).findLast(
        ({ kind, state }) => kind === "train" && state === "final",
      );
      if (ended || done === undefined || done.id === current?.job) return;
      const next = await node.model(done.id);
      if (ended) return next.close();
      current?.close();
      current = next;
      setModel(next);
    };
    // A job may end later, and its model may be readable a block after that.
    const off = node.on("job", ({ state }) => void (state === "final" && read().catch(() => {})));
    void read().catch(() => {});
    return () => {
      ended = true;
      off();
      current?.close();
      setModel(null);
    };
  }, [node]);
  return model;
}

/** The component. */
export function Contribute({ options }: { options: ConnectOptions }) {
  const { node, error } = useTequio(options);
  const activity = useActivity(node);
  const model = useModel(node);
  if (error) return <p role="alert">{error.message}</p>;
  if (node === null) return <p>Connecting …</p>;
  const contributes = activity !== null && activity.state !== "off";
  const toggle = () => {
    if (contributes) node.status().contribution?.stop();
    else node.contribute({ workers: 1 });
  };
  return (
    <section>
      <p data-state={activity?.state}>
        {activity?.state === "computing"
          ? `computing ${activity.unitsPerMinute} units a minute`
          : activity?.state}
      </p>
      <button onClick={toggle}>{contributes ? "Stop" : "Compute on one core"}</button>
      {model && (
        <p data-label={model.predict(new Float64Array(model.features)).label}>
          A model of {model.features} numbers
        </p>
      )}
    </section>
  );
}
