// Command gen writes fold_data.go, the tables with which rules/content folds text, from the Unicode
// Character Database (Debian: package unicode-data):
//
//	go run . -ucd /usr/share/unicode -o ../fold_data.go
//
// It is a module of its own, so that what it needs does not become a dependency of the program.
package main

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/bzip2"
	"flag"
	"fmt"
	"go/format"
	"io"
	"log"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// last is the highest code point that the tables know; the planes above hold Han that nobody types and
// variation selectors, which the program treats by range.
const last = 0x323AF

func main() {
	log.SetFlags(0)
	ucd := flag.String("ucd", "/usr/share/unicode", "folder of the Unicode Character Database")
	out := flag.String("o", "fold_data.go", "file to write")
	flag.Parse()
	g := generator{dir: *ucd}
	g.load()
	src, err := format.Source(g.write())
	if err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile(*out, src, 0o644); err != nil {
		log.Fatal(err)
	}
}

type generator struct {
	dir      string
	category map[rune]string
	numeric  map[rune]int
	emoji    map[rune]bool
	radical  map[rune]rune
	simple   map[rune][]rune
	variant  map[rune][]rune
	standard map[rune]bool     // in the table of general standard characters (2013)
	readings map[rune][]string // without tones, the most frequent first
	weight   map[rune]int
	corner   map[rune]string
}

func (g *generator) load() {
	g.category, g.numeric, g.emoji = map[rune]string{}, map[rune]int{}, map[rune]bool{}
	g.radical, g.simple, g.variant = map[rune]rune{}, map[rune][]rune{}, map[rune][]rune{}
	g.standard, g.readings, g.weight, g.corner = map[rune]bool{}, map[rune][]string{}, map[rune]int{}, map[rune]string{}
	var first rune
	g.lines("UnicodeData.txt", func(line string) {
		f := strings.Split(line, ";")
		lo, hi := hex(f[0])
		switch {
		case strings.HasSuffix(f[1], ", First>"):
			first = lo
		case strings.HasSuffix(f[1], ", Last>"):
			lo = first
		}
		for r := lo; r <= hi && r <= last; r++ {
			g.category[r] = f[2]
			if n, err := strconv.Atoi(f[8]); err == nil {
				g.numeric[r] = n
			}
		}
	})
	g.lines("emoji/emoji-data.txt", func(line string) {
		f := fields(line)
		if f[1] != "Emoji" && f[1] != "Emoji_Modifier" && f[1] != "Extended_Pictographic" {
			return
		}
		lo, hi := hex(f[0])
		for r := lo; r <= hi; r++ {
			// Old symbols count only where they really are emoji; ★ and ◆ separate words.
			if r > 0xFF && (f[1] != "Extended_Pictographic" || r >= 0x1F000) {
				g.emoji[r] = true
			}
		}
	})
	for r := rune(0x1F1E6); r <= 0x1F1FF; r++ {
		g.emoji[r] = true // regional indicators: flags
	}
	g.lines("EquivalentUnifiedIdeograph.txt", func(line string) {
		f := fields(line)
		lo, hi := hex(f[0])
		to, _ := hex(f[1])
		for r := lo; r <= hi; r++ {
			g.radical[r] = to
		}
	})
	g.unihan("Unihan_Variants", func(r rune, key, value string) {
		switch key {
		case "kSimplifiedVariant":
			g.simple[r] = append(g.simple[r], points(value)...)
		case "kSemanticVariant", "kZVariant", "kSpecializedSemanticVariant":
			g.variant[r] = append(g.variant[r], points(value)...)
		}
	})
	mandarin, tghz, pinlu := map[rune][]string{}, map[rune][]string{}, map[rune][]string{}
	g.unihan("Unihan_Readings", func(r rune, key, value string) {
		switch key {
		case "kMandarin":
			mandarin[r] = strings.Fields(value)[:1]
		case "kTGHZ2013":
			g.standard[r] = true
			for _, f := range strings.Fields(value) {
				_, s, _ := strings.Cut(f, ":")
				tghz[r] = append(tghz[r], strings.Split(s, ",")...)
			}
		case "kHanyuPinlu":
			for _, f := range strings.Fields(value) {
				s, n, _ := strings.Cut(f, "(")
				count, err := strconv.Atoi(strings.TrimSuffix(n, ")"))
				if err != nil {
					log.Fatalf("kHanyuPinlu of %c: %v", r, err)
				}
				g.weight[r] += count
				if count > 20 {
					pinlu[r] = append(pinlu[r], s)
				}
			}
		}
	})
	for r := range mandarin {
		for _, s := range slices.Concat(mandarin[r], pinlu[r], tghz[r]) {
			if s = toneless(s); s != "" && !slices.Contains(g.readings[r], s) {
				g.readings[r] = append(g.readings[r], s)
			}
		}
	}
	g.unihan("Unihan_DictionaryLikeData", func(r rune, key, value string) {
		if key == "kFourCornerCode" {
			code, _, _ := strings.Cut(strings.Fields(value)[0], ".")
			g.corner[r] = code
		}
	})
}

// han folds a Han character to the simplified one in common use.
func (g *generator) han(r rune) rune {
	if to, ok := g.radical[r]; ok {
		r = to
	}
	if to, ok := hanChoices[r]; ok {
		return to
	}
	if to := g.best(g.simple[r]); to != 0 && to != r {
		return to
	}
	if g.standard[r] {
		return r
	}
	// A form that no standard knows, with one that it does: 賸 is 剩. Chains (鎗 槍 枪) are followed once.
	var to []rune
	for _, v := range g.variant[r] {
		to = append(to, v)
		to = append(to, g.simple[v]...)
	}
	if best := g.best(to); best != 0 && g.standard[best] {
		return best
	}
	return r
}

// best is the most frequent of the characters, standard ones before others; 0 for none.
func (g *generator) best(of []rune) rune {
	var best rune
	for _, r := range of {
		if r > 0xFFFF {
			continue
		}
		if best == 0 || g.rank(r) > g.rank(best) {
			best = r
		}
	}
	return best
}

func (g *generator) rank(r rune) int {
	n := g.weight[r]
	if g.standard[r] {
		n += 1 << 24
	}
	return n
}

func (g *generator) frequentFirst(a, b rune) int {
	return cmp.Or(cmp.Compare(g.rank(b), g.rank(a)), cmp.Compare(a, b))
}

// fold is the folded form of r: a letter a-z, a digit 0-9 (value up to 20 in n), another rune, or 0.
func (g *generator) fold(r rune) (to rune, n int) {
	for letter, alike := range lookAlikes {
		if strings.ContainsRune(alike, r) {
			return letter, 0
		}
	}
	if c := g.category[r]; c == "Nd" || c == "No" && !strings.ContainsFunc(norm.NFKD.String(string(r)), func(r rune) bool { return unicode.Is(unicode.Han, r) }) {
		if n, ok := g.numeric[r]; ok && n <= 20 {
			return '0', n
		}
	}
	if c := g.category[r]; strings.HasPrefix(c, "M") || c == "Cf" || c == "" || strings.HasPrefix(c, "Z") || c == "Cc" {
		return 0, 0
	}
	var kept []rune
	for _, c := range norm.NFKD.String(string(r)) {
		switch k := g.category[c]; {
		case k[0] == 'L' || k[0] == 'N':
			kept = append(kept, unicode.ToLower(c))
		}
	}
	if unicode.Is(unicode.Hangul, r) { // decomposes into its parts
		return r, 0
	}
	if len(kept) == 0 {
		return 0, 0
	}
	if len(kept) > 1 && !(kept[0] == 'i' || kept[0] == 'v' || kept[0] == 'x') { // ㎏, ½; but Ⅷ is kept as one mark
		if k := norm.NFKC.String(string(r)); len([]rune(k)) == 1 {
			return r, 0
		}
		return 0, 0
	}
	if len(kept) > 1 {
		return 0, 0
	}
	c := kept[0]
	if '0' <= c && c <= '9' {
		return '0', int(c - '0')
	}
	for letter, alike := range lookAlikes {
		if strings.ContainsRune(alike, c) {
			return letter, 0
		}
	}
	if unicode.Is(unicode.Han, c) || g.radical[c] != 0 {
		c = g.han(c)
	}
	return c, 0
}

const (
	soft = iota
	deleted
	kept
)

func (g *generator) class(r rune) int {
	switch c := g.category[r]; {
	case g.emoji[r], c == "Mn", c == "Me", c == "Cf", r == 0:
		return deleted
	case r == 0x115F, r == 0x1160, r == 0x3164, r == 0xFFA0, r == 0x2800: // fillers: letters by name, nothing to see
		return deleted
	case c == "", c[0] == 'Z', c[0] == 'C', c[0] == 'P', c[0] == 'S', c == "Mc":
		return soft
	case c == "Nd", c == "No", c == "Nl", c[0] == 'L':
		return kept
	}
	return soft
}

func (g *generator) write() []byte {
	var han, letters, digits, similar strings.Builder
	var ranges [3][][2]rune
	for r := rune(0); r <= last; r++ {
		to, n := g.fold(r)
		class := g.class(r)
		if to != 0 && class != kept && r != to {
			class = kept // Ⓠ and ㊗ are symbols by category
		}
		if r < 0x80 && !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != 0 {
			class = soft
			if r == '%' {
				class = kept
			}
		}
		if k := len(ranges[class]); k > 0 && ranges[class][k-1][1] == r-1 {
			ranges[class][k-1][1] = r
		} else {
			ranges[class] = append(ranges[class], [2]rune{r, r})
		}
		switch {
		case class != kept || to == 0 || to > 0xFFFF:
		case to == '0':
			if r != '0' {
				fmt.Fprintf(&digits, "%c%c", r, rune('0'+n))
			}
		case 'a' <= to && to <= 'z':
			if r != to {
				fmt.Fprintf(&letters, "%c%c", r, to)
			}
		case r != to:
			fmt.Fprintf(&han, "%c%c", r, to)
		}
	}
	var numeral strings.Builder
	for _, d := range slices.Sorted(maps.Keys(numerals)) {
		for _, r := range numerals[d] {
			fmt.Fprintf(&numeral, "%c%c", r, d)
		}
	}
	first, more := map[string][]rune{}, map[string][]rune{}
	corners := map[string][]rune{}
	for r, all := range g.readings {
		if r > 0xFFFF {
			continue
		}
		if to := g.han(r); to != r {
			continue
		}
		first[all[0]] = append(first[all[0]], r)
		for _, s := range all[1:] {
			more[s] = append(more[s], r)
		}
		if g.standard[r] && g.corner[r] != "" {
			corners[g.corner[r]] = append(corners[g.corner[r]], r)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(corners)) {
		if len(corners[k]) > 1 {
			slices.SortFunc(corners[k], g.frequentFirst)
			fmt.Fprintf(&similar, "%s\n", string(corners[k]))
		}
	}
	var b bytes.Buffer
	b.WriteString(`// Code generated by rules/content/gen from the Unicode Character Database; DO NOT EDIT.
//
// Copyright © 1991-2025 Unicode, Inc. The data is used under the Unicode License V3, see LICENSE-UNICODE.

package content

`)
	text := func(name, doc, value string) {
		fmt.Fprintf(&b, "// %s %s\nconst %s = \"\" +\n", name, doc, name)
		runes := []rune(value)
		for len(runes) > 0 {
			n := min(len(runes), 60)
			fmt.Fprintf(&b, "\t%s", strconv.QuoteToGraphic(string(runes[:n])))
			if runes = runes[n:]; len(runes) > 0 {
				b.WriteString(" +")
			}
			b.WriteString("\n")
		}
		b.WriteString("\n")
	}
	table := func(name, doc string, of [][2]rune) {
		fmt.Fprintf(&b, "// %s %s\nvar %s = [...][2]rune{", name, doc, name)
		for i, r := range of {
			if i%8 == 0 {
				b.WriteString("\n\t")
			}
			fmt.Fprintf(&b, "{%#x, %#x},", r[0], r[1])
		}
		b.WriteString("\n}\n\n")
	}
	table("deletedRanges", "leave no trace in the folded text.", ranges[deleted])
	table("keptRanges", "are letters, digits and ideographs.", ranges[kept])
	text("foldedLetters", "are characters and the Latin letter that they stand for.", letters.String())
	text("foldedDigits", "are digits of every script and shape with '0' + their value, which may be up to 20.", digits.String())
	text("foldedOthers", "are characters and their simplified, compatible or lower-case form.", han.String())
	text("spokenDigits", "are characters with which digits are spelt, with the digit.", numeral.String())
	list := func(name, doc string, of map[string][]rune) {
		fmt.Fprintf(&b, "// %s %s\nconst %s = \"\" +\n", name, doc, name)
		keys := slices.SortedFunc(maps.Keys(of), cmp.Compare)
		for i, k := range keys {
			slices.SortFunc(of[k], g.frequentFirst)
			fmt.Fprintf(&b, "\t%q", k+" "+string(of[k])+"\n")
			if i < len(keys)-1 {
				b.WriteString(" +")
			}
			b.WriteString("\n")
		}
		b.WriteString("\n")
	}
	list("syllables", "are the syllables of Mandarin without tones, each with the characters first read so.", first)
	list("otherReadings", "are further readings of characters that have several.", more)
	fmt.Fprintf(&b, "// similarShapes are common characters that share a four-corner code, a line each.\nconst similarShapes = \"\" +\n")
	lines := strings.SplitAfter(strings.TrimSuffix(similar.String(), "\n"), "\n")
	for i, l := range lines {
		fmt.Fprintf(&b, "\t%q", l)
		if i < len(lines)-1 {
			b.WriteString(" +")
		}
		b.WriteString("\n")
	}
	return b.Bytes()
}

// toneless is a syllable in ASCII letters, ü written v as on keyboards; "" for what is none (hm, ê).
func toneless(s string) string {
	var b strings.Builder
	for _, c := range norm.NFD.String(strings.ReplaceAll(norm.NFC.String(s), "ü", "v")) {
		switch {
		case c == 0x308 && strings.HasSuffix(b.String(), "u"): // ǖ decomposes into u, dots, tone
			t := b.String()
			b.Reset()
			b.WriteString(t[:len(t)-1] + "v")
		case 'a' <= c && c <= 'z':
			b.WriteRune(c)
		}
	}
	if s = b.String(); !strings.ContainsAny(s, "aeiouv") {
		return ""
	}
	return s
}

func (g *generator) unihan(name string, each func(r rune, key, value string)) {
	g.lines(name+".txt.bz2", func(line string) {
		f := strings.SplitN(line, "\t", 3)
		r, _ := hex(strings.TrimPrefix(f[0], "U+"))
		each(r, f[1], f[2])
	})
}

func (g *generator) lines(name string, each func(string)) {
	f, err := os.Open(filepath.Join(g.dir, name))
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	var r io.Reader = f
	if strings.HasSuffix(name, ".bz2") {
		r = bzip2.NewReader(f)
	}
	s := bufio.NewScanner(r)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		if line := s.Text(); line != "" && line[0] != '#' {
			each(line)
		}
	}
	if err := s.Err(); err != nil {
		log.Fatal(err)
	}
}

func fields(line string) []string {
	line, _, _ = strings.Cut(line, "#")
	f := strings.Split(line, ";")
	for i := range f {
		f[i] = strings.TrimSpace(f[i])
	}
	return f
}

// hex reads 4E00 or 4E00..9FFF.
func hex(s string) (lo, hi rune) {
	a, b, ranged := strings.Cut(s, "..")
	if !ranged {
		b = a
	}
	x, err1 := strconv.ParseUint(a, 16, 32)
	y, err2 := strconv.ParseUint(b, 16, 32)
	if err1 != nil || err2 != nil {
		log.Fatalf("code point %q", s)
	}
	return rune(x), rune(y)
}

// points reads U+4E70 U+27E52<kMatthews,….
func points(s string) []rune {
	var out []rune
	for _, f := range strings.Fields(s) {
		f, _, _ = strings.Cut(f, "<")
		r, _ := hex(strings.TrimPrefix(f, "U+"))
		out = append(out, r)
	}
	return out
}
