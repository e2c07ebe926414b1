package schemas

import (
	"embed"
	"io/fs"
	"strings"
)

//go:embed *.schema.json
var files embed.FS

// baseURL is where the schemas say they live: their $id is baseURL and the file's name.
const baseURL = "https://yizhan.dev/schemas/"

// File returns a JSON Schema (draft 2020-12) by its file name, such as "event.schema.json"; false
// when there is none of that name. The caller may keep and change the bytes.
func File(name string) ([]byte, bool) {
	if strings.ContainsRune(name, '/') {
		return nil, false
	}
	b, err := files.ReadFile(name)
	return b, err == nil
}

// Files lists the file names of all schemas in this binary, sorted.
func Files() []string {
	names, err := fs.Glob(files, "*.schema.json")
	if err != nil {
		panic(err) // the pattern is a constant
	}
	return names
}
