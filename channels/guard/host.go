package guard

import "strings"

// Covers says whether a pattern of a setting takes a host, in lower case: a name, an address (one of IPv6 in brackets or not),
// "*.example.com" for every name below example.com, or "*" for any.
func Covers(pattern, host string) bool {
	if suffix, wild := strings.CutPrefix(pattern, "*"); wild {
		return strings.HasSuffix(host, suffix) && len(host) > len(suffix)
	}
	return strings.Trim(pattern, "[]") == host
}
