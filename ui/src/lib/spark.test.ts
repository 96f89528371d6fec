import { expect, it } from 'vitest';
import { sparkPath } from './spark';

it('is a line from 0 up', () => expect(sparkPath([[0, 0], [5, 5], [10, 10]], 0, 10, 5)).toBe('M0 19L50 10L100 1'));
it('lifts the pen over gaps, and shows a point alone', () => expect(sparkPath([[0, 1], [1, 1], [10, 1]], 0, 10, 1)).toBe('M0 1L10 1M100 1h1'));
it('of nothing is nothing', () => expect([sparkPath([], 0, 10, 1), sparkPath([[1, 1]], 5, 5, 1), sparkPath([[1, 0]], 0, 10, 1)]).toEqual(['', '', 'M10 19h1']));
