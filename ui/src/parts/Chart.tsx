import { useEffect, useRef } from 'preact/hooks';
import uPlot from 'uplot';
import { axisTime, clock } from '../lib/format';
import type { Point } from '../lib/types';

export interface Line {
  name: string;
  points: Point[];
  color?: string; // a CSS colour or a token (--c1); the palette's next, if none is given
  dashed?: boolean; // an estimate, or a forecast
  faint?: boolean; // idle: its area in a stack is lighter, by hatching
  alone?: boolean; // it stands beside the stack, after all lines that are in it
}

// Between is an area that two lines bound: where the value plausibly lies.
export interface Between {
  name: string;
  low: Point[];
  high: Point[];
}

interface Props {
  label: string; // what a screen reader says
  lines: Line[];
  start: number;
  end: number;
  step: number; // a gap longer than two steps is a gap
  stacked?: boolean;
  band?: Between | undefined; // of the value, or of the sum of a stack
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

// hatching is a fill of thin slanted lines.
function hatching(context: CanvasRenderingContext2D, color: string): CanvasPattern | string {
  const tile = document.createElement('canvas');
  const size = Math.round(6 * devicePixelRatio);
  tile.width = size;
  tile.height = size;
  const c = tile.getContext('2d');
  if (!c) return `${color}22`;
  c.strokeStyle = `${color}88`;
  c.lineWidth = devicePixelRatio;
  for (const x of [-size, 0, size]) {
    c.moveTo(x, size);
    c.lineTo(x + size, 0);
  }
  c.stroke();
  return context.createPattern(tile, 'repeat') ?? `${color}22`;
}

// hue gives a canvas the colour that a token has now.
const hue = (root: Element, color: string | undefined, i: number): string => (color && !color.startsWith('--') ? color : css(root, color ?? palette[i % palette.length]!));

// Chart draws lines or stacked areas over time. Its figures are also in the
// table that its panel offers for download, and in the text of the legend.
// What is drawn is made anew only when its kind changes; new figures are put
// into what there is, so that nothing flickers and the cursor stays.
export function Chart({ label, lines, start, end, step, stacked = false, band, format, height = 220, onSelect }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot>();
  const live = useRef({ lines, start, end, step, band, format, onSelect, values: [] as (number | null)[][] });
  Object.assign(live.current, { lines, start, end, step, band, format, onSelect });

  const data = (): uPlot.AlignedData => {
    const { lines, start, end, step, band } = live.current;
    const { times, values } = grid(lines, start, end, step);
    live.current.values = values;
    const inStack = stacked ? lines.filter((l) => !l.alone).length : 0;
    const rows = [...stack(values.slice(0, inStack)), ...values.slice(inStack)];
    const bounds = band ? grid([{ name: '', points: band.high }, { name: '', points: band.low }], start, end, step).values : [];
    return [times, ...rows, ...bounds] as uPlot.AlignedData;
  };

  const kind = JSON.stringify([stacked, height, onSelect !== undefined, band?.name ?? null, lines.map((l) => [l.name, l.color ?? '', l.dashed ?? false, l.faint ?? false, l.alone ?? false])]);
  useEffect(() => {
    const root = box.current;
    if (!root) return;
    const draw = (): uPlot => {
      const axis = { stroke: css(root, '--muted'), grid: { stroke: css(root, '--line'), width: 1 }, ticks: { stroke: css(root, '--line'), width: 1 }, font: '11px system-ui, sans-serif' };
      const inStack = stacked ? lines.filter((l) => !l.alone).length : 0;
      const colors = lines.map((l, i) => hue(root, l.color, i));
      const fill = (i: number) => (u: uPlot): CanvasPattern | string => (lines[i]!.faint ? hatching(u.ctx, colors[i]!) : `${colors[i]}66`);
      const series: uPlot.Series[] = lines.map((l, i) => ({
        label: l.name,
        stroke: colors[i]!,
        width: l.faint ? 0.75 : 1.25,
        // One point alone is no line.
        points: { show: (u, i) => Array.from((u.data[i] ?? []) as ArrayLike<number | null | undefined>).filter((v) => typeof v === 'number').length === 1, size: 5 },
        value: (_u, _v, _s, at) => {
          const row = live.current.values[i];
          // Without a cursor the legend has the newest figures.
          const v = row?.[at ?? row.findLastIndex((x) => x !== null)];
          return v === null || v === undefined ? '–' : live.current.format(v);
        },
        ...(l.dashed ? { dash: [5, 4] } : {}),
        ...(i === 0 && inStack > 0 ? { fill: fill(0) } : {}),
      }));
      const bands: uPlot.Band[] = lines.slice(1, Math.max(inStack, 1)).map((_, i) => ({ series: [i + 2, i + 1], fill: fill(i + 1) }));
      if (band) {
        const muted = css(root, '--muted');
        const newest = (u: uPlot, v: number | null, at: number): string => {
          const row = Array.from((u.data[at] ?? []) as ArrayLike<number | null | undefined>);
          const shown = v ?? row.findLast((x) => x !== null && x !== undefined);
          return typeof shown === 'number' ? live.current.format(shown) : '–';
        };
        const of = (name: string): uPlot.Series => ({ label: name, stroke: muted, width: 1, dash: [2, 3], points: { show: false }, value: (u, v, at) => newest(u, v, at) });
        bands.push({ series: [series.length + 1, series.length + 2], fill: `${muted}1f` });
        series.push(of(`${band.name} at most`), of('at least'));
      }
      return new uPlot(
        {
          width: Math.max(root.clientWidth, 200),
          height,
          series: [{ value: (_u, t) => (t === null ? 'newest' : clock(t, live.current.end - live.current.start)) }, ...series],
          bands,
          legend: { live: true },
          cursor: { drag: { x: live.current.onSelect !== undefined, y: false, setScale: false }, points: { show: false } },
          scales: { x: { time: true, range: () => [live.current.start, live.current.end] }, y: { range: (_u, min, max) => [Math.min(0, min ?? 0), Math.max(max ?? 1, 1e-9) * 1.05] } },
          axes: [
            { ...axis, size: 30, values: (_u, ticks, _a, _s, incr) => ticks.map((t) => axisTime(t, incr)) },
            { ...axis, size: 66, values: (_u, ticks) => ticks.map((t) => live.current.format(t)) },
          ],
          hooks: {
            setSelect: [
              (u) => {
                if (u.select.width > 5) live.current.onSelect?.(u.posToVal(u.select.left, 'x'), u.posToVal(u.select.left + u.select.width, 'x'));
                if (u.select.width > 0) u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
              },
            ],
          },
        },
        data(),
        root,
      );
    };
    plot.current = draw();
    const again = () => {
      plot.current?.destroy();
      plot.current = draw();
    };
    let width = root.clientWidth;
    const resize = new ResizeObserver(() => {
      if (root.clientWidth === width || root.clientWidth === 0) return;
      width = root.clientWidth;
      plot.current?.setSize({ width: Math.max(width, 200), height });
    });
    resize.observe(root);
    const dark = matchMedia('(prefers-color-scheme: dark)');
    dark.addEventListener('change', again);
    addEventListener('noether-theme', again);
    return () => {
      resize.disconnect();
      dark.removeEventListener('change', again);
      removeEventListener('noether-theme', again);
      plot.current?.destroy();
      plot.current = undefined;
    };
  }, [kind]);
  useEffect(() => {
    plot.current?.setData(data());
  }, [lines, band, start, end, step, kind]);
  return <div class="chart" role="img" aria-label={label} ref={box} />;
}
