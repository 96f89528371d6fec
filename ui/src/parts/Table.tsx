import './Table.css';
import { type ComponentChildren } from 'preact';
import { useEffect, useId, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { moved, scrolled, windowOf } from '../lib/virtual';

export interface Column<R> {
  id: string;
  title: string;
  hint?: string; // the tooltip of its title
  width: number; // in rem; the first column takes what is left over
  text?: boolean; // it stands left
  fixed?: boolean; // nobody sorts by it
  cell: (row: R) => ComponentChildren;
}

// Foot is a line below the rows: what is shown, what is not, and all.
export interface Foot {
  key: string;
  cells: ComponentChildren[];
}

interface Props<R> {
  label: string;
  columns: Column<R>[];
  rows: R[]; // in their order
  keyOf: (row: R) => string;
  sort: string;
  desc: boolean;
  onSort: (column: string) => void;
  onOpen: (row: R) => void;
  onVisible?: (rows: R[]) => void; // the rows on the screen, when scrolling has paused
  foot?: Foot[];
}

const rowHeight = 30;

// Table has any number of rows, of which only those on the screen are in the
// document. It is one stop for the Tab key; arrows, PageUp, PageDown, Home and
// End move the row that is active, and Enter opens it.
export function Table<R>({ label, columns, rows, keyOf, sort, desc, onSort, onOpen, onVisible, foot = [] }: Props<R>) {
  const id = useId();
  const box = useRef<HTMLDivElement>(null);
  const head = useRef<HTMLDivElement>(null);
  const bottom = useRef<HTMLDivElement>(null);
  const [view, setView] = useState({ top: 0, height: 600 });
  const [active, setActive] = useState<string | null>(null);

  useLayoutEffect(() => {
    const root = box.current;
    if (!root) return;
    const look = () => {
      const height = root.clientHeight - (head.current?.offsetHeight ?? 0) - (bottom.current?.offsetHeight ?? 0);
      // Only another row at the top changes what is drawn.
      const top = Math.floor(root.scrollTop / rowHeight) * rowHeight;
      setView((v) => (v.top === top && v.height === height ? v : { top, height }));
    };
    look();
    const resized = new ResizeObserver(look);
    resized.observe(root);
    root.addEventListener('scroll', look, { passive: true });
    return () => {
      resized.disconnect();
      root.removeEventListener('scroll', look);
    };
  }, []);

  const at = active === null ? -1 : rows.findIndex((r) => keyOf(r) === active);
  const { first, last } = windowOf(rows.length, rowHeight, view.top, view.height);
  const seen = rows.slice(first, last);
  const visible = seen.map(keyOf).join('\u0001');
  const told = useRef(onVisible);
  told.current = onVisible;
  useEffect(() => {
    const timer = setTimeout(() => told.current?.(seen), 120);
    return () => clearTimeout(timer);
  }, [visible]);

  const press = (e: KeyboardEvent) => {
    if (e.target !== box.current || e.ctrlKey || e.metaKey || e.altKey) return;
    const current = rows[at];
    if (e.key === 'Enter' && current !== undefined) {
      e.preventDefault();
      onOpen(current);
      return;
    }
    const to = moved(e.key, at, rows.length, Math.floor(view.height / rowHeight) - 1);
    const row = to === null ? undefined : rows[to];
    if (to === null || row === undefined || !box.current) return;
    e.preventDefault();
    setActive(keyOf(row));
    box.current.scrollTop = scrolled(to, rowHeight, box.current.scrollTop, view.height);
  };

  const tracks = { gridTemplateColumns: columns.map((c, i) => (i === 0 ? `minmax(${c.width}rem, 1fr)` : `${c.width}rem`)).join(' ') };
  const all = { minWidth: `${columns.reduce((sum, c) => sum + c.width, 0)}rem` };
  const inWindow = at >= first && at < last;
  return (
    <div
      class="grid-table"
      role="grid"
      tabIndex={0}
      ref={box}
      aria-label={label}
      aria-rowcount={rows.length + 1 + foot.length}
      aria-colcount={columns.length}
      {...(inWindow ? { 'aria-activedescendant': `${id}-${at}` } : {})}
      onKeyDown={press}
      onFocus={(e) => {
        if (e.target === box.current && at < 0 && rows[first] !== undefined) setActive(keyOf(rows[Math.min(Math.ceil(view.top / rowHeight), rows.length - 1)]!));
      }}
    >
      <div role="rowgroup" class="grid-head" ref={head} style={all}>
        <div role="row" class="grid-row" aria-rowindex={1} style={tracks}>
          {columns.map((c, i) => (
            <div role="columnheader" key={c.id} class={c.text ? 'text' : ''} aria-colindex={i + 1} title={c.hint} {...(c.fixed ? {} : { 'aria-sort': c.id !== sort ? 'none' : desc ? 'descending' : 'ascending' })}>
              {c.fixed ? (
                c.title
              ) : (
                <button type="button" class="quiet" onClick={() => onSort(c.id)}>
                  {c.title}
                  <span aria-hidden="true">{c.id === sort ? (desc ? ' ▾' : ' ▴') : ''}</span>
                </button>
              )}
            </div>
          ))}
        </div>
      </div>
      <div role="rowgroup" class="grid-body" style={{ ...all, height: `${rows.length * rowHeight}px` }}>
        {seen.map((r, i) => {
          const index = first + i;
          return (
            <div role="row" key={keyOf(r)} id={`${id}-${index}`} class={`grid-row${index === at ? ' active' : ''}`} aria-rowindex={index + 2} aria-selected={index === at} style={{ ...tracks, top: `${index * rowHeight}px`, height: `${rowHeight}px` }} onMouseDown={() => setActive(keyOf(r))} onDblClick={() => onOpen(r)}>
              {columns.map((c, k) => (
                <div role="gridcell" key={c.id} class={c.text ? 'text' : ''} aria-colindex={k + 1}>
                  {c.cell(r)}
                </div>
              ))}
            </div>
          );
        })}
      </div>
      {foot.length > 0 && (
        <div role="rowgroup" class="grid-foot" ref={bottom} style={all}>
          {foot.map((f, i) => (
            <div role="row" key={f.key} class="grid-row" aria-rowindex={rows.length + 2 + i} style={tracks}>
              {columns.map((c, k) => (
                <div role="gridcell" key={c.id} class={c.text ? 'text' : ''} aria-colindex={k + 1}>
                  {f.cells[k]}
                </div>
              ))}
            </div>
          ))}
        </div>
      )}
    </div>
  );
}
