package attribution

import (
	"cmp"
	"math/bits"
)

// remainder is what rounding down cost one share.
type remainder struct {
	rest  uint64
	index int32
}

// byLoss orders by the largest remainder, then by the lowest index.
func byLoss(a, b remainder) int {
	if c := cmp.Compare(b.rest, a.rest); c != 0 {
		return c
	}
	return cmp.Compare(a.index, b.index)
}

// divide gives each weight its share of total, rounded down, and the
// units that are left to those who lost most by rounding (method of largest
// remainders, Hamilton): every share is within one unit of its exact quota, equal weights differ by at most one, weight zero gets nothing,
// and the sum is total. It returns the scratch slice for the next call.
func divide[T ~int64](dst []T, total T, weights []uint64, scratch []remainder) (bool, []remainder) {
	clear(dst)
	sum := sumOf(weights)
	if total < 0 || sum == 0 {
		return false, scratch
	}
	scratch = scratch[:0]
	left := uint64(total)
	for i, w := range weights {
		if w == 0 {
			continue
		}
		hi, lo := bits.Mul64(uint64(total), w)
		q, rest := bits.Div64(hi, lo, sum) // hi < sum because w <= sum and total < 2^63
		dst[i] = T(q)
		left -= q
		if rest != 0 {
			scratch = append(scratch, remainder{rest, int32(i)})
		}
	}
	// The remainders are less than one unit each and sum to left, so there are
	// more of them than units left.
	k := int(left)
	selectFirst(scratch, k)
	for _, r := range scratch[:k] {
		dst[r.index]++
	}
	return true, scratch
}

// sumOf adds weights. The sum of CPU times of a tick, in nanoseconds, is far
// below 2^63; a sum that would overflow is reported as 0, nothing to divide by.
func sumOf(weights []uint64) uint64 {
	var sum uint64
	for _, w := range weights {
		var carry uint64
		if sum, carry = bits.Add64(sum, w, 0); carry != 0 {
			return 0
		}
	}
	return sum
}

// selectFirst moves the k first elements by byLoss to the front (quickselect,
// expected linear time, in place).
func selectFirst(s []remainder, k int) {
	for len(s) > 1 && k > 0 && k < len(s) {
		pivot := s[len(s)/2]
		lo, hi := 0, len(s)-1
		for lo <= hi {
			for byLoss(s[lo], pivot) < 0 {
				lo++
			}
			for byLoss(s[hi], pivot) > 0 {
				hi--
			}
			if lo <= hi {
				s[lo], s[hi] = s[hi], s[lo]
				lo++
				hi--
			}
		}
		switch {
		case k <= hi+1:
			s = s[:hi+1]
		case k > lo:
			s, k = s[lo:], k-lo
		default:
			return
		}
	}
}
