package plugin

import "strings"

// Closest returns the one of names that is most like a misspelt name, "" if
// none is within a third of its letters.
func Closest(name string, names []string) string {
	best, limit := "", max(1, len(name)/3)+1
	for _, n := range names {
		if d := typos(strings.ToLower(name), strings.ToLower(n)); d < limit {
			best, limit = n, d
		}
	}
	return best
}

// typos counts the letters that were added, lost, replaced or swapped with their
// neighbour between a and b (the restricted Damerau-Levenshtein distance).
func typos(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before, last, row = last, row, before
		row[0] = i + 1
		for j := range len(b) {
			d := last[j]
			if a[i] != b[j] {
				d = 1 + min(d, row[j], last[j+1])
				if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
					d = min(d, 1+before[j-1])
				}
			}
			row[j+1] = d
		}
	}
	return row[len(b)]
}
