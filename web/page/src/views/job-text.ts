/** Texts about jobs. */
import { tMaybe } from "../i18n/index.js";

/** The text of a job's state, or the state itself if it is unknown. */
export function stateText(state: string): string {
  return tMaybe(`training.state.${state}`) ?? state;
}
