import { expect, it } from 'vitest';
import { grid, stack } from './Chart';

it('puts lines on one axis; what is not there is null', () =>
  expect(grid([{ name: 'a', points: [[10, 1], [20, 2]] }, { name: 'b', points: [[20, 5], [1000, 9]] }], 5, 32, 10)).toEqual({ times: [10, 20, 30], values: [[1, 2, null], [null, 5, null]] }));
it('has no times in an empty range', () => expect(grid([{ name: 'a', points: [[1, 1]] }], 11, 12, 10)).toEqual({ times: [], values: [[]] }));
it('stacks; where one is missing the stack goes on below', () =>
  expect(stack([[1, null, null], [2, 2, null], [null, 3, null]])).toEqual([[1, null, null], [3, 2, null], [3, 5, null]]));
