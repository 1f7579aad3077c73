/** A job's state in words. */
import { tMaybe } from "../i18n/index.js";

/** The words for a job's state; a state that this page does not know stays as it is. */
export function stateText(state: string): string {
  return tMaybe(`training.state.${state}`) ?? state;
}
