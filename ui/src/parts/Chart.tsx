import { useEffect, useRef } from 'preact/hooks';
import uPlot from 'uplot';
import { clock } from '../lib/format';
import type { Point } from '../lib/types';

export interface Line {
  name: string;
  points: Point[];
  color?: string; // a CSS colour or a token (--c1); the palette's next, if none is given
  dashed?: boolean; // an estimate, or a forecast
  faint?: boolean; // idle: its area is lighter
  alone?: boolean; // it stands beside the stack, after all lines that are in it
}

interface Props {
  label: string; // what a screen reader says
  lines: Line[];
  start: number;
  end: number;
  step: number; // a gap longer than two steps is a gap
  stacked?: boolean;
  format: (value: number) => string;
  height?: number;
  onSelect?: (start: number, end: number) => void; // people drag over a span
}

export const palette = ['--c1', '--c2', '--c3', '--c4', '--c5', '--c6', '--c7', '--c8'];

const css = (element: Element, name: string): string => getComputedStyle(element).getPropertyValue(name).trim();

// grid puts the lines on one axis of time; what is not there is null.
export function grid(lines: Line[], start: number, end: number, step: number): { times: number[]; values: (number | null)[][] } {
  const first = Math.ceil(start / step) * step;
  const n = Math.max(0, Math.floor((end - first) / step) + 1);
  const times = Array.from({ length: n }, (_, i) => first + i * step);
  const values = lines.map((l) => {
    const row: (number | null)[] = new Array<number | null>(n).fill(null);
    for (const [t, v] of l.points) {
      const i = Math.round((t - first) / step);
      if (i >= 0 && i < n) row[i] = v;
    }
    return row;
  });
  return { times, values };
}

// stack adds each line to those before it; null where the line itself is null
// and nothing lies below.
export function stack(values: (number | null)[][]): (number | null)[][] {
  const sums: (number | null)[] = [];
  return values.map((row) =>
    row.map((v, i) => {
      const below = sums[i] ?? null;
      const sum = v === null ? below : v + (below ?? 0);
      sums[i] = sum;
      return sum;
    }),
  );
}

// Chart draws lines or stacked areas over time. Its figures are also in the
// table that its panel offers for download, and in the text of the legend.
export function Chart({ label, lines, start, end, step, stacked = false, format, height = 220, onSelect }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const selected = useRef(onSelect);
  selected.current = onSelect;
  useEffect(() => {
    const root = box.current;
    if (!root) return;
    const draw = (): uPlot => {
      const { times, values } = grid(lines, start, end, step);
      const inStack = stacked ? lines.filter((l) => !l.alone).length : 0;
      const shown = stacked ? [...stack(values.slice(0, inStack)), ...values.slice(inStack)] : values;
      const axis = { stroke: css(root, '--muted'), grid: { stroke: css(root, '--line'), width: 1 }, ticks: { stroke: css(root, '--line'), width: 1 } };
      const colors = lines.map((l, i) => (l.color?.startsWith('--') ? css(root, l.color) : l.color) ?? css(root, palette[i % palette.length]!));
      const fills = lines.map((l, i) => `${colors[i]}${l.faint ? '22' : '66'}`);
      const series: uPlot.Series[] = lines.map((l, i) => ({
        label: l.name,
        stroke: colors[i]!,
        width: 1.5,
        points: { show: false },
        value: (_u, _v, _s, at) => {
          const v = at === null || at === undefined ? null : values[i]?.[at];
          return v === null || v === undefined ? '–' : format(v);
        },
        ...(l.dashed ? { dash: [5, 4] } : {}),
        ...(i === 0 && inStack > 0 ? { fill: fills[i]! } : {}),
      }));
      const bands: uPlot.Band[] = lines.slice(1, Math.max(inStack, 1)).map((_, i) => ({ series: [i + 2, i + 1], fill: fills[i + 1]! }));
      return new uPlot(
        {
          width: Math.max(root.clientWidth, 200),
          height,
          series: [{ value: (_u, t) => (t === null ? '–' : clock(t, end - start)) }, ...series],
          bands,
          legend: { live: true },
          cursor: { drag: { x: selected.current !== undefined, y: false, setScale: false } },
          scales: { x: { time: true, range: [start, end] }, y: { range: (_u, min, max) => [Math.min(0, min ?? 0), Math.max(max ?? 1, 1e-9) * 1.05] } },
          axes: [axis, { ...axis, size: 64, values: (_u, ticks) => ticks.map(format) }],
          hooks: {
            setSelect: [
              (u) => {
                if (u.select.width > 5) selected.current?.(u.posToVal(u.select.left, 'x'), u.posToVal(u.select.left + u.select.width, 'x'));
                u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
              },
            ],
          },
        },
        [times, ...shown] as uPlot.AlignedData,
        root,
      );
    };
    let plot = draw();
    const again = () => {
      plot.destroy();
      plot = draw();
    };
    let width = root.clientWidth;
    const resize = new ResizeObserver(() => {
      if (root.clientWidth !== width) {
        width = root.clientWidth;
        plot.setSize({ width: Math.max(width, 200), height });
      }
    });
    resize.observe(root);
    const dark = matchMedia('(prefers-color-scheme: dark)');
    dark.addEventListener('change', again);
    addEventListener('noether-theme', again);
    return () => {
      resize.disconnect();
      dark.removeEventListener('change', again);
      removeEventListener('noether-theme', again);
      plot.destroy();
    };
  }, [lines, start, end, step, stacked, format, height]);
  return <div class="chart" role="img" aria-label={label} ref={box} />;
}
