package signature

import (
	"cmp"
	"slices"
	"strings"
	"unicode"
)

// Lenticular brackets, upright and vertical, make a signature anywhere; the others only at the edges of
// a text, since 国发〔2026〕5号 or [PO-123] in the middle is plain writing.
const (
	openAnywhere, closeAnywhere = "【︻", "】︼"
	openEdge, closeEdge         = openAnywhere + "〖︗[［﹝〔︹❲〘〚⟦⦗⁅﹇", closeAnywhere + "〗︘]］﹞〕︺❳〙〛⟧⦘⁆﹈"
)

// maxEdge is how long a bracketed group at the edge of a text may be, in code points without the
// brackets, and still be read as a signature.
const maxEdge = 20

// maxGroups bounds the work and the hits of one text: of more, those nearest to its edges are judged.
const maxGroups = 64

// group is a part in brackets, brackets included, in code points of the text.
type group struct {
	start, end int
	// head and tail say that nothing but other groups, space and invisible characters stands between
	// it and the start or the end of the text.
	head, tail bool
	lenticular bool
}

// find returns the groups that a carrier may read as signatures, in order and without overlaps: every
// lenticular one, and the others at the edges. loose are the lenticular brackets without a partner.
func find(text []rune) (groups []group, loose []int) {
	groups, loose = pairs(text)
	// Over what stands at an edge and is no text: space, invisible characters, a bracket left over.
	skip := func(i, step int) int {
		for i >= 0 && i < len(text) && (invisible(text[i]) || unicode.IsSpace(text[i]) || has(loose, i)) {
			i += step
		}
		return i
	}
	// Each walk looks groups up by their place and sorts once at the end: a search through all of them at
	// every step is quadratic. Both walks go all the way, since the groups that are kept say of both edges
	// whether they stand there.
	byStart, byEnd := make(map[int]int, len(groups)), make(map[int]int, len(groups))
	for n, g := range groups {
		byStart[g.start], byEnd[g.end] = n, n
	}
	for i := skip(0, 1); i < len(text); i = skip(i, 1) { // [云栈][星河]: the second stands at the start as well
		at, ok := byStart[i]
		if !ok {
			end := edgeEnd(text, i)
			if end == 0 {
				break
			}
			at = len(groups)
			groups = append(groups, group{start: i, end: end})
			byEnd[end] = at
		}
		groups[at].head = true
		i = groups[at].end
	}
	for j := skip(len(text)-1, -1); j >= 0; j = skip(j, -1) {
		at, ok := byEnd[j+1]
		if !ok {
			start := edgeStart(text, j)
			if start < 0 {
				break
			}
			at = len(groups)
			groups = append(groups, group{start: start, end: j + 1})
		}
		groups[at].tail = true
		j = groups[at].start - 1
	}
	// Of two with the same start the longer one is first: [a]b] before [a].
	slices.SortFunc(groups, func(a, b group) int { return cmp.Or(a.start-b.start, b.end-a.end) })
	if len(groups) > maxGroups {
		groups = slices.Delete(groups, maxGroups/2, len(groups)-maxGroups/2)
	}
	return groups, loose
}

// pairs are the outermost pairs of lenticular brackets: 【【云栈】】 is one, of 【云栈【星河】 the second.
func pairs(text []rune) (groups []group, loose []int) {
	var open []int
	for i, r := range text {
		switch {
		case strings.ContainsRune(openAnywhere, r):
			open = append(open, i)
		case !strings.ContainsRune(closeAnywhere, r):
		case len(open) == 0:
			loose = append(loose, i)
		default:
			start := open[len(open)-1]
			open = open[:len(open)-1]
			for len(groups) > 0 && groups[len(groups)-1].start > start {
				groups = groups[:len(groups)-1]
			}
			groups = append(groups, group{start: start, end: i + 1, lenticular: true})
		}
	}
	loose = append(loose, open...)
	slices.Sort(loose)
	return groups, loose
}

func has(sorted []int, i int) bool {
	_, ok := slices.BinarySearch(sorted, i)
	return ok
}

func edgeEnd(text []rune, i int) int {
	if !strings.ContainsRune(openEdge, text[i]) {
		return 0
	}
	for j, n := i+1, 0; j < len(text) && n <= maxEdge; j++ {
		switch {
		case strings.ContainsRune(closeEdge, text[j]):
			return j + 1
		case strings.ContainsRune(openAnywhere, text[j]):
			return 0 // another group begins: this one is never closed
		case !invisible(text[j]):
			n++
		}
	}
	return 0
}

func edgeStart(text []rune, j int) int {
	if !strings.ContainsRune(closeEdge, text[j]) {
		return -1
	}
	for i, n := j-1, 0; i >= 0 && n <= maxEdge; i-- {
		switch {
		case strings.ContainsRune(openEdge, text[i]):
			return i
		case strings.ContainsRune(closeAnywhere, text[i]):
			return -1
		case !invisible(text[i]):
			n++
		}
	}
	return -1
}

// invisible characters hide brackets from naive checks: format characters (zero-width space and
// joiners, soft hyphen, BOM), variation selectors and the Hangul fillers.
func invisible(r rune) bool {
	return unicode.In(r, unicode.Cf, unicode.Variation_Selector) || r == '\u034f' || r == '\u115f' || r == '\u1160' || r == '\u3164' || r == '\uffa0'
}

// visible is what a reader sees of a name.
func visible(name []rune) []rune {
	return slices.DeleteFunc(slices.Clone(name), invisible)
}
