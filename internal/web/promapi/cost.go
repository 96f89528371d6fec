package promapi

import (
	"fmt"
	"regexp/syntax"
	"strings"
	"time"

	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/util/strutil"
)

// examine refuses expressions that cost without end before the engine has
// them, and returns the expression and whether it selects any series. The
// expression is evaluated at so many points over span.
func examine(text string, span time.Duration, points int64) (expr parser.Expr, selects bool, err error) {
	patterns := 0
	if err := measure(text, &patterns); err != nil {
		return nil, false, invalid("query", err)
	}
	if expr, err = parser.ParseExpr(text); err != nil {
		return nil, false, invalid("query", err)
	}
	matchers := 0
	var walk func(n parser.Node, span time.Duration, points int64) (made, error)
	walk = func(n parser.Node, span time.Duration, points int64) (made, error) {
		switch n := n.(type) {
		case *parser.VectorSelector:
			selects = true
			if matchers += len(n.LabelMatchers); matchers > maxMatchers {
				return made{}, invalid("query", tooManyMatchers())
			}
		case *parser.SubqueryExpr:
			step := n.Step
			if step <= 0 {
				step = subqueryStep
			}
			if span += n.Range; span < 0 || span/step > maxSteps {
				return made{}, &fault{execution, fmt.Errorf("the subquery with step %s has more than %d steps: give it a longer step or a shorter range", step, maxSteps)}
			}
			if points*int64(n.Range/step) > maxWindows { // both are small: of steps and points
				return made{}, &fault{execution, fmt.Errorf("the subquery with step %s reads more than %d samples of each series: give it a longer step or a shorter range, or ask for fewer points", step, maxWindows)}
			}
			points = int64(span/step) + 1
		}
		sum := made{longest: anyLabel}
		for _, child := range parser.Children(n) {
			of, err := walk(child, span, points)
			if err != nil {
				return made{}, err
			}
			sum.longest = max(sum.longest, of.longest)
			sum.total += of.total
		}
		if call, ok := n.(*parser.Call); ok {
			sum.by(call)
		}
		if sum.total > maxMade {
			return made{}, &fault{execution, fmt.Errorf("label_replace and label_join could make labels of more than %d bytes for one series: nest fewer of them, or repeat less in the replacement", maxMade)}
		}
		return sum, nil
	}
	_, err = walk(expr, span, points)
	return expr, selects, err
}

// made bounds the labels that functions make for one series, in bytes. The
// engine counts samples, not their labels, and some nested functions would fill
// any memory.
type made struct {
	longest int // label, of the store or made
	total   int // of those made
}

// by adds what a function makes.
func (m *made) by(call *parser.Call) {
	length := 0
	switch {
	case call.Func.Name == "label_replace" && len(call.Args) > 2:
		if with, ok := call.Args[2].(*parser.StringLiteral); ok {
			length = len(with.Val) + strings.Count(with.Val, "$")*m.longest
		}
	case call.Func.Name == "label_join" && len(call.Args) > 2:
		if by, ok := call.Args[2].(*parser.StringLiteral); ok {
			length = (len(call.Args) - 3) * (len(by.Val) + m.longest)
		}
	}
	m.longest = max(m.longest, length)
	m.total += length
}

// measure refuses what takes the parser longer than it should, or more memory:
// its time grows with the square of how deep expressions are in each other, and
// it cannot be interrupted. Each level takes an operator or a bracket. It adds
// to patterns what the regular expressions take.
func measure(text string, patterns *int) error {
	if len(text) > maxQuery {
		return tooLong(len(text))
	}
	nesting, commas := 0, 0
	lexer := parser.Lex(text)
	for {
		var item parser.Item
		switch lexer.NextItem(&item); item.Typ {
		case parser.EOF, parser.ERROR:
			return nil
		case parser.LEFT_PAREN, parser.LEFT_BRACKET, parser.LEFT_BRACE:
			nesting++
		case parser.COMMA:
			commas++
		case parser.STRING: // any may be a pattern
			if *patterns += weigh(item.Val); *patterns > maxPattern {
				return fmt.Errorf("its regular expressions have more than %d characters with their repetitions written out: repeat less, or ask in several requests", maxPattern)
			}
		default:
			if item.Typ.IsOperator() {
				nesting++
			}
		}
		if nesting > maxNesting {
			return fmt.Errorf("it has more than %d operators and brackets: ask in several requests", maxNesting)
		}
		if commas > maxMatchers {
			return tooManyMatchers()
		}
	}
}

// weigh returns about how many characters and ranges of them the program of a
// quoted regular expression tells apart; 0 if it is none.
func weigh(quoted string) int {
	text, err := strutil.Unquote(quoted)
	if err != nil {
		return 0 // the parser says what is wrong
	}
	re, err := syntax.Parse(text, syntax.Perl|syntax.DotNL)
	if err != nil {
		return 0
	}
	return weighed(re)
}

// weighed returns the weight of a regular expression. Its nesting is bounded
// by regexp/syntax, and so are its repetitions of repetitions.
func weighed(re *syntax.Regexp) int {
	weight := 0
	for _, sub := range re.Sub {
		weight += weighed(sub)
	}
	switch re.Op {
	case syntax.OpLiteral, syntax.OpCharClass:
		return len(re.Rune)
	case syntax.OpRepeat:
		return max(re.Min, re.Max, 1) * weight
	default:
		return max(weight, 1)
	}
}
