import './parts.css';
import { sparkPath } from '../lib/spark';
import type { Point } from '../lib/types';

interface Props {
  points: Point[];
  start: number;
  end: number;
  step: number; // a gap longer than two steps is a gap
  max?: number; // of the scale; the greatest value, if none is given
  estimated?: boolean;
}

// Spark is a line the size of a word, from 0 up. It is nothing to a screen
// reader: its figures stand beside it.
export function Spark({ points, start, end, step, max, estimated = false }: Props) {
  return (
    <svg class={`spark${estimated ? ' estimated' : ''}`} viewBox="0 0 100 20" preserveAspectRatio="none" aria-hidden="true" focusable="false">
      <path d={sparkPath(points, start, end, step, max)} vector-effect="non-scaling-stroke" />
    </svg>
  );
}
