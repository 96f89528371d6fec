import type { ComponentChildren } from 'preact';
import { change } from '../lib/format';
import './parts.css';

interface Props {
  title: string;
  children: ComponentChildren; // the figure
  value?: number | null | undefined; // what is compared
  before?: number | null | undefined; // with what
  than?: string; // how that is called
  why?: string | null | undefined; // why nothing is compared
  note?: ComponentChildren;
}

// Tile is one figure of a view, against the one before.
export function Tile({ title, children, value, before, than = 'the range before', why, note }: Props) {
  const against = !why && typeof value === 'number' && typeof before === 'number' ? change(value, before) : null;
  return (
    <div class="stat" role="group" aria-label={title} data-tile={title}>
      <h2>{title}</h2>
      <p class="stat-figure">{children}</p>
      {against ? (
        <p class={`stat-change ${against.arrow === '▲' ? 'more' : against.arrow === '▼' ? 'less' : ''}`}>
          <span aria-hidden="true">
            {against.arrow} {against.text} <span class="than">vs {than}</span>
          </span>
          <span class="sr">
            {against.words} {than}
          </span>
        </p>
      ) : (
        why && <p class="stat-change none">{why}</p>
      )}
      {note && <p class="stat-note">{note}</p>}
    </div>
  );
}
