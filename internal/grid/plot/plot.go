// Package plot draws carbon intensities over time with the characters of a
// terminal. Bars begin at 0, so that twice the height is twice the intensity,
// and nothing is told by colour alone.
//
// It refuses to fill holes: a time without a sample has no bar.
package plot

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"noether/internal/grid"
)

// Options say how to draw.
type Options struct {
	Width, Height int  // of the whole in columns, of the bars in lines; kept to what can be read
	Colour        bool // escape sequences by ECMA-48 for low, middle and high
	ASCII         bool // for terminals without block characters
	Location      *time.Location
	// Now is marked if it lies in what is drawn, and so is what is between
	// From and To if these are set.
	Now, From, To time.Time
}

// Bounds of a drawing.
const (
	minWidth, maxWidth   = 40, 200
	minHeight, maxHeight = 3, 40
	left                 = 8 // columns of the scale
)

// Stats are what a series is summed up by.
type Stats struct {
	Min, Max, Mean float64
	MinAt, MaxAt   time.Time     // the first of the lowest and of the highest
	Covered        time.Duration // by samples
}

// Summarize returns the statistics of what samples say between from and to;
// ok is false if that is nothing. The mean is weighted by time.
func Summarize(samples []grid.Sample, from, to time.Time) (s Stats, ok bool) {
	sum := 0.0
	for i := range samples {
		begin, end := clip(&samples[i], from, to)
		if !end.After(begin) {
			continue
		}
		v := samples[i].Intensity
		if !ok || v < s.Min {
			s.Min, s.MinAt = v, begin
		}
		if !ok || v > s.Max {
			s.Max, s.MaxAt = v, begin
		}
		ok = true
		s.Covered += end.Sub(begin)
		sum += v * end.Sub(begin).Seconds()
	}
	if ok {
		s.Mean = sum / s.Covered.Seconds()
	}
	return s, ok
}

func clip(s *grid.Sample, from, to time.Time) (begin, end time.Time) {
	begin, end = s.From, s.To
	if begin.Before(from) {
		begin = from
	}
	if end.After(to) {
		end = to
	}
	return begin, end
}

// Append draws samples, ordered by time and without overlap, between from and
// to. It appends nothing if there is nothing to draw.
func Append(dst []byte, samples []grid.Sample, from, to time.Time, o Options) []byte {
	all, ok := Summarize(samples, from, to)
	if !ok {
		return dst
	}
	if o.Location == nil {
		o.Location = time.UTC
	}
	p := plot{
		o: o, from: from, span: to.Sub(from), all: all,
		columns: min(max(o.Width, minWidth), maxWidth) - left,
		height:  min(max(o.Height, minHeight), maxHeight),
	}
	p.top = ceiling(all.Max)
	p.fill(samples)
	dst = p.bars(dst)
	dst = p.axis(dst)
	return p.marks(dst)
}

type plot struct {
	o               Options
	from            time.Time
	span            time.Duration
	all             Stats
	columns, height int
	top             float64
	values          []float64 // by column; NaN where nothing is known
}

// ceiling returns the number of the form 1, 2, 2.5, 4, 5 or 8 × 10ⁿ that is not below v.
func ceiling(v float64) float64 {
	if v <= 1 {
		return 1
	}
	unit := math.Pow(10, math.Floor(math.Log10(v)))
	for _, f := range [...]float64{1, 2, 2.5, 4, 5, 8} {
		if f*unit >= v {
			return f * unit
		}
	}
	return 10 * unit
}

func (p *plot) edge(column int) time.Time {
	// Not span × column, which can be more than an int64 holds.
	span, n, c := int64(p.span), int64(p.columns), int64(column)
	return p.from.Add(time.Duration(span/n*c + span%n*c/n))
}

func (p *plot) column(at time.Time) (int, bool) {
	d := at.Sub(p.from)
	if d < 0 || d >= p.span {
		return 0, false
	}
	return min(int(float64(d)/float64(p.span)*float64(p.columns)), p.columns-1), true
}

func (p *plot) fill(samples []grid.Sample) {
	p.values = make([]float64, p.columns)
	next := 0
	for c := range p.values {
		begin, end := p.edge(c), p.edge(c+1)
		for next < len(samples) && !samples[next].To.After(begin) {
			next++
		}
		last := next
		for last < len(samples) && samples[last].From.Before(end) {
			last++
		}
		s, ok := Summarize(samples[next:last], begin, end)
		p.values[c] = s.Mean
		if !ok {
			p.values[c] = math.NaN()
		}
	}
}

// Levels of one character, in eighths of its height.
const (
	blocks = " ▁▂▃▄▅▆▇█"
	ascii  = " ...:::##"
)

func (p *plot) bars(dst []byte) []byte {
	levels := []rune(blocks)
	if p.o.ASCII {
		levels = []rune(ascii)
	}
	for line := p.height - 1; line >= 0; line-- {
		label := ""
		switch line {
		case p.height - 1:
			label = number(p.top)
		case p.height/2 - 1:
			if p.height%2 == 0 {
				label = number(p.top / 2)
			}
		}
		dst = fmt.Appendf(dst, "%6s %s", label, p.pick("│", "|"))
		var row []byte
		colour := ""
		for _, v := range p.values {
			eighths := 0
			if !math.IsNaN(v) {
				// A known value is never without a mark, also if it is 0.
				eighths = min(max(int(math.Round(v/p.top*float64(p.height*8)))-line*8, 0), 8)
				if line == 0 {
					eighths = max(eighths, 1)
				}
			}
			if want := p.colour(v); eighths > 0 && want != colour {
				colour = want
				row = append(row, want...)
			}
			row = utf8.AppendRune(row, levels[eighths])
		}
		if colour == "" {
			row = []byte(strings.TrimRight(string(row), " "))
		} else {
			row = append(row, reset...)
		}
		dst = append(append(dst, row...), '\n')
	}
	return dst
}

const (
	reset  = "\x1b[0m"
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
	red    = "\x1b[31m"
)

// colour tells low, middle and high: 15 % below and above the mean.
func (p *plot) colour(v float64) string {
	switch {
	case !p.o.Colour || math.IsNaN(v):
		return ""
	case v < 0.85*p.all.Mean:
		return green
	case v > 1.15*p.all.Mean:
		return red
	default:
		return yellow
	}
}

func (p *plot) pick(block, plain string) string {
	if p.o.ASCII {
		return plain
	}
	return block
}

// axis writes the line below the bars with ticks at whole hours or days, and their times.
func (p *plot) axis(dst []byte) []byte {
	line := []rune(strings.Repeat(p.pick("─", "-"), p.columns))
	var labels text
	layout, at, next := p.ticks()
	for ; at.Before(p.from.Add(p.span)); at = next(at) {
		c, ok := p.column(at)
		if !ok {
			continue
		}
		line[c] = []rune(p.pick("┬", "+"))[0]
		labels.put(c, at.Format(layout), p.columns)
	}
	dst = fmt.Appendf(dst, "%6s %s%s\n", "0", p.pick("└", "+"), string(line))
	return labels.append(dst)
}

// ticks returns how times are written, the first tick, and what follows each.
func (p *plot) ticks() (layout string, first time.Time, next func(time.Time) time.Time) {
	from := p.from.In(p.o.Location)
	enough := p.span / time.Duration(max(p.columns/9, 1)) // room for a label
	day := time.Date(from.Year(), from.Month(), from.Day(), 0, 0, 0, 0, p.o.Location)
	for _, minutes := range [...]int{5, 15, 30, 60, 120, 180, 360, 720} {
		if step := time.Duration(minutes) * time.Minute; step >= enough {
			// By the wall clock, so that ticks stay at whole hours when it is changed.
			next = func(t time.Time) time.Time {
				for n := t.Hour()*60 + t.Minute() + minutes; ; n += minutes {
					if u := time.Date(t.Year(), t.Month(), t.Day(), 0, n, 0, 0, p.o.Location); u.After(t) {
						return u
					}
				}
			}
			for first = day; first.Before(from); {
				first = next(first)
			}
			return "15:04", first, next
		}
	}
	days := int(enough/(24*time.Hour)) + 1
	next = func(t time.Time) time.Time { return t.AddDate(0, 0, days) }
	if first = day; first.Before(from) {
		first = first.AddDate(0, 0, 1)
	}
	return "01-02", first, next
}

// marks writes below the axis where now, the lowest, the highest and the chosen are.
func (p *plot) marks(dst []byte) []byte {
	var rows []text
	put := func(at time.Time, label string) {
		c, ok := p.column(at)
		if !ok {
			return
		}
		arrow := p.pick("▲", "^")
		rows = append(rows, text{})
		for i := range rows {
			if rows[i].put(c, arrow+" "+label, p.columns) || rows[i].put(c-len(label)-1, label+" "+arrow, p.columns) {
				break
			}
		}
	}
	if begin, ok := p.column(p.o.From); ok && p.o.To.After(p.o.From) {
		end, ok := p.column(p.o.To.Add(-1))
		if !ok {
			end = p.columns - 1
		}
		row := text{[]rune(strings.Repeat(" ", begin) + strings.Repeat(p.pick("▔", "="), end-begin+1))}
		if !row.put(end+2, "best", p.columns) {
			row.put(begin-5, "best", p.columns)
		}
		rows = append(rows, row)
	}
	if !p.o.Now.IsZero() {
		put(p.o.Now, "now")
	}
	if p.all.Max > p.all.Min {
		put(p.all.MinAt, "min")
		put(p.all.MaxAt, "max")
	}
	for i := range rows {
		dst = rows[i].append(dst)
	}
	return dst
}

// text is a line into which words are put where there is room.
type text struct{ line []rune }

// put writes s from a column on; it reports false if that would touch another
// word or leave the line.
func (t *text) put(column int, s string, columns int) bool {
	word := []rune(s)
	end := column + len(word)
	if column < 0 || end > columns {
		return false
	}
	for len(t.line) < end+1 {
		t.line = append(t.line, ' ')
	}
	for c := max(column-1, 0); c <= end; c++ {
		if c < len(t.line) && t.line[c] != ' ' {
			return false
		}
	}
	copy(t.line[column:], word)
	return true
}

func (t *text) append(dst []byte) []byte {
	line := strings.TrimRight(string(t.line), " ")
	if line == "" {
		return dst
	}
	return fmt.Appendf(dst, "%*s%s\n", left, "", line)
}

func number(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }
