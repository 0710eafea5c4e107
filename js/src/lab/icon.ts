/** The mark of the side bar: a cell with a spark beside it, in the theme's own icon colour. */
import { LabIcon } from "@jupyterlab/ui-components";

const SVG = `<svg xmlns="http://www.w3.org/2000/svg" width="16" viewBox="0 0 24 24">
  <g class="jp-icon3" fill="#616161">
    <path d="M4 5h9v2H5v10h14v-4h2v5a1 1 0 0 1-1 1H4a1 1 0 0 1-1-1V6a1 1 0 0 1 1-1z"/>
    <path d="M18 2l1.3 3.7L23 7l-3.7 1.3L18 12l-1.3-3.7L13 7l3.7-1.3z"/>
    <path d="M7 10h5v1.6H7zM7 13h8v1.6H7z"/>
  </g>
</svg>`;

export const agentIcon = new LabIcon({ name: "jupyter-agent:agent", svgstr: SVG });
