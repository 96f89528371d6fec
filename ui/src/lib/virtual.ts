// The window of a long table: which of its rows are on the screen.

export interface Window {
  first: number; // first row that is drawn
  last: number; // one after the last
}

// windowOf has the rows that are seen from scrollTop on, and some on both sides.
export function windowOf(count: number, rowHeight: number, scrollTop: number, viewHeight: number, around = 6): Window {
  const top = Math.max(0, scrollTop);
  const first = Math.min(Math.floor(top / rowHeight), Math.max(0, count - 1));
  const last = Math.min(count, Math.ceil((top + Math.max(0, viewHeight)) / rowHeight));
  return { first: Math.max(0, first - around), last: Math.max(Math.min(count, last + around), Math.min(count, first)) };
}

// moved is the row that a key leads to; null if the key leads nowhere.
export function moved(key: string, at: number, count: number, page: number): number | null {
  if (count === 0) return null;
  const to = new Map([['ArrowDown', at + 1], ['ArrowUp', at - 1], ['PageDown', at + Math.max(1, page)], ['PageUp', at - Math.max(1, page)], ['Home', 0], ['End', count - 1]]).get(key);
  return to === undefined ? null : Math.min(Math.max(to, 0), count - 1);
}

// scrolled is where to scroll so that a row is seen whole, from scrollTop, with
// as little movement as can be. viewHeight is what rows may fill.
export function scrolled(row: number, rowHeight: number, scrollTop: number, viewHeight: number): number {
  if (row * rowHeight < scrollTop) return row * rowHeight;
  if ((row + 1) * rowHeight > scrollTop + viewHeight) return Math.max(0, (row + 1) * rowHeight - viewHeight);
  return scrollTop;
}
