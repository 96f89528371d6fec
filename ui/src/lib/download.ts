// What is shown, as a file.

export type Cell = string | number | null | undefined;

export interface Table {
  columns: string[];
  rows: Cell[][];
}

// A cell that a spreadsheet would take for a formula gets an apostrophe.
function cell(c: Cell): string {
  if (c === null || c === undefined) return '';
  if (typeof c === 'number') return String(c);
  const text = /^[=+\-@\t\r]/.test(c) ? `'${c}` : c;
  return /[",\r\n]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text;
}

// csv is RFC 4180, with a line of names.
export const csv = (t: Table): string => [t.columns, ...t.rows].map((r) => r.map(cell).join(',')).join('\r\n') + '\r\n';

// objects has one object a row.
export const objects = (t: Table): Record<string, Cell>[] => t.rows.map((r) => Object.fromEntries(t.columns.map((c, i) => [c, r[i] ?? null])));

export function save(name: string, type: 'csv' | 'json', table: Table): void {
  const text = type === 'csv' ? csv(table) : JSON.stringify(objects(table), null, 2) + '\n';
  const url = URL.createObjectURL(new Blob([text], { type: type === 'csv' ? 'text/csv;charset=utf-8' : 'application/json' }));
  const link = document.createElement('a');
  link.href = url;
  link.download = `noether-${name}.${type}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}
