package schemas

import "strings"

// plainName is a name without what writers vary: case, hyphens and underscores.
func plainName(s string) string {
	return strings.NewReplacer("_", "", "-", "").Replace(strings.ToLower(s))
}

// nearest is the known name that a misspelt one most likely stands for, "" when none is close.
func nearest(name string, known []string) string {
	const longest = 40
	if len(name) > longest {
		return ""
	}
	best, nearestName := 3, ""
	for _, k := range known {
		d := distance(plainName(name), plainName(k))
		if d < best && d*3 <= len(k) {
			best, nearestName = d, k
		}
	}
	return nearestName
}

// distance is the Levenshtein distance in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			substitute := diagonal
			if a[i] != b[j] {
				substitute++
			}
			diagonal = row[j+1]
			row[j+1] = min(substitute, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
