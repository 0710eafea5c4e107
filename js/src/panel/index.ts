/** The panel's public face. */
export type { PanelOptions } from "./context";
export { mountPanel, type PanelHandle } from "./mount";
