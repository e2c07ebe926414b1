package httpapi

import (
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// values are what a request's templates may name. A value is a string, but for params (a []string)
// and params_map (a map[string]string).
type values map[string]any

// variable is ${name} or ${name|filter}.
var variable = regexp.MustCompile(`\$\{([a-z0-9_]+)(?:\|([a-z0-9]+))?\}`)

// filters change a value; the set is closed.
var filters = map[string]func(any) (any, error){
	"int": func(v any) (any, error) {
		n, err := strconv.ParseInt(fmt.Sprint(v), 10, 64)
		if err != nil {
			return nil, fmt.Errorf("not a whole number")
		}
		return n, nil
	},
	"json": func(v any) (any, error) {
		b, err := json.Marshal(v)
		return string(b), err
	},
	"md5": func(v any) (any, error) {
		sum := md5.Sum([]byte(fmt.Sprint(v)))
		return hex.EncodeToString(sum[:]), nil
	},
	"base64": func(v any) (any, error) { return base64.StdEncoding.EncodeToString([]byte(fmt.Sprint(v))), nil },
	"upper":  func(v any) (any, error) { return strings.ToUpper(fmt.Sprint(v)), nil },
}

// checkTemplate refuses a template that names what is not known.
func checkTemplate(s string, known map[string]bool) error {
	for _, m := range variable.FindAllStringSubmatch(s, -1) {
		if !known[m[1]] {
			return fmt.Errorf("${%s} is not known; known are %s", m[1], strings.Join(slices.Sorted(maps.Keys(known)), ", "))
		}
		if m[2] != "" && filters[m[2]] == nil {
			return fmt.Errorf("${%s|%s}: the filters are %s", m[1], m[2], strings.Join(slices.Sorted(maps.Keys(filters)), ", "))
		}
	}
	if rest := variable.ReplaceAllString(s, ""); strings.Contains(rest, "${") {
		return fmt.Errorf("%q: a variable is written ${name} or ${name|filter}", s)
	}
	return nil
}

// names says whether s names the variable.
func names(s, name string) bool {
	for _, m := range variable.FindAllStringSubmatch(s, -1) {
		if m[1] == name {
			return true
		}
	}
	return false
}

// fill is s with its variables replaced. A template that is one variable and nothing else keeps the value's type.
func fill(s string, vals values) (any, error) {
	get := func(m []string) (any, error) {
		v := vals[m[1]]
		if v == nil {
			v = ""
		}
		if m[2] == "" {
			return v, nil
		}
		v, err := filters[m[2]](v)
		if err != nil {
			return nil, fmt.Errorf("${%s|%s}: %w", m[1], m[2], err)
		}
		return v, nil
	}
	if m := variable.FindStringSubmatch(s); m != nil && m[0] == s {
		return get(m)
	}
	var err error
	out := variable.ReplaceAllStringFunc(s, func(found string) string {
		v, bad := get(variable.FindStringSubmatch(found))
		if bad != nil {
			err = bad
			return ""
		}
		if _, text := v.(string); !text {
			if _, number := v.(int64); !number {
				v, _ = filters["json"](v) // a list within a text
			}
		}
		return fmt.Sprint(v)
	})
	return out, err
}

// text is [fill] for what must be text.
func text(s string, vals values) (string, error) {
	v, err := fill(s, vals)
	if err != nil {
		return "", err
	}
	switch v := v.(type) {
	case string:
		return v, nil
	case int64:
		return strconv.FormatInt(v, 10), nil
	}
	b, err := filters["json"](v)
	return fmt.Sprint(b), err
}

// tree fills every text of a document. A member whose template comes to nothing is left out: an
// optional setting that is not given leaves no trace in the request.
func tree(node any, vals values) (any, error) {
	switch n := node.(type) {
	case string:
		return fill(n, vals)
	case map[string]any:
		out := make(map[string]any, len(n))
		for k, v := range n {
			f, err := tree(v, vals)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", k, err)
			}
			if s, ok := v.(string); ok && variable.MatchString(s) && empty(f) {
				continue
			}
			out[k] = f
		}
		return out, nil
	case []any:
		out := make([]any, len(n))
		for i, v := range n {
			f, err := tree(v, vals)
			if err != nil {
				return nil, err
			}
			out[i] = f
		}
		return out, nil
	default:
		return node, nil
	}
}

func empty(v any) bool {
	switch v := v.(type) {
	case string:
		return v == ""
	case []string:
		return len(v) == 0
	case map[string]string:
		return len(v) == 0
	}
	return false
}

// texts lists every text of a document.
func texts(node any) (out []string) {
	switch n := node.(type) {
	case string:
		out = append(out, n)
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(n)) {
			out = append(out, texts(n[k])...)
		}
	case []any:
		for _, v := range n {
			out = append(out, texts(v)...)
		}
	}
	return out
}
