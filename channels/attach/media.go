package attach

import (
	"bytes"
	"mime"
	"net/http"
	"path"
	"slices"
	"strings"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/schemas"
)

// programs are the endings of files that run at a click. NetEase refuses bat, com, js, vbs, pif and scr (help.163.com, in
// diagnoses.csv); the others are from memory.
var programs = strings.Fields(`app appx apk bat chm cmd com cpl dll dmg exe gadget hta inf ins iso jar js jse lnk mjs msc msi msix msp mst ocx
	pif ps1 psm1 reg scf scr sh sys url vb vbe vbs vhd vhdx wsc wsf wsh xll`)

func executableName(name string) bool { return slices.Contains(programs, extension(name)) }

// extension is that of the name as Windows reads it, where dots and spaces at the end do not count.
func extension(name string) string {
	return strings.ToLower(strings.TrimPrefix(path.Ext(strings.TrimRight(name, ". \t\u00a0\u3000")), "."))
}

// magic begins the files that run, whatever they are called.
var magic = [][]byte{
	[]byte("MZ"), []byte("\x7fELF"), []byte("#!"),
	[]byte("\xfe\xed\xfa\xce"), []byte("\xfe\xed\xfa\xcf"), []byte("\xce\xfa\xed\xfe"), []byte("\xcf\xfa\xed\xfe"), []byte("\xca\xfe\xba\xbe"), // Mach-O, Java
	[]byte("L\x00\x00\x00\x01\x14\x02\x00"), // Windows shortcut
}

// runs says whether the bytes are a program. "MZ" alone may begin a text: a program's header points to "PE".
func runs(data []byte) bool {
	for _, m := range magic {
		if !bytes.HasPrefix(data, m) {
			continue
		}
		if string(m) == "MZ" {
			return len(data) >= 64 && http.DetectContentType(data) == octets
		}
		return true
	}
	return false
}

const (
	octets    = "application/octet-stream"
	zipped    = "application/zip"
	plainText = "text/plain"
)

// known are the types by ending. The tables of the machine are not asked: a mail must be the same on every pod.
var known = map[string]string{
	"pdf": "application/pdf", "ofd": "application/ofd", "xml": "application/xml", "json": "application/json", "zip": zipped,
	"docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
	"xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
	"pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
	"doc":  "application/msword", "xls": "application/vnd.ms-excel", "ppt": "application/vnd.ms-powerpoint",
	"csv": "text/csv", "txt": plainText, "html": "text/html", "htm": "text/html", "ics": "text/calendar", "md": "text/markdown",
	"png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "gif": "image/gif", "webp": "image/webp", "bmp": "image/bmp",
	"svg": "image/svg+xml", "tif": "image/tiff", "tiff": "image/tiff",
	"rar": "application/x-rar-compressed", "7z": "application/x-7z-compressed", "gz": "application/x-gzip", "eml": "message/rfc822",
}

// surely are the types that the first bytes always tell: what claims to be one and does not begin like it
// is something else, such as the log-in page that a server sent instead of the file.
var surely = []string{"application/pdf", zipped, "application/x-gzip", "image/png", "image/jpeg", "image/gif", "image/webp", "image/bmp"}

// inZip are types whose files are ZIP archives inside.
func inZip(media string) bool {
	return media == zipped || media == "application/x-zip-compressed" || media == "application/ofd" ||
		strings.HasPrefix(media, "application/vnd.openxmlformats-officedocument.") || strings.HasPrefix(media, "application/vnd.oasis.opendocument.")
}

// mediaType is the type under which the file goes: what the event declares, or else its ending, if the bytes
// agree; or else what the bytes look like (mimesniff.spec.whatwg.org).
func mediaType(a schemas.Attachment, data []byte) (string, error) {
	if runs(data) {
		return "", lackf(channels.Executable, "the content is a program")
	}
	seen, _, _ := strings.Cut(http.DetectContentType(data), ";")
	media := known[extension(a.Name)]
	if a.Type != "" {
		declared, _, err := mime.ParseMediaType(a.Type)
		if err != nil {
			return "", lackf(channels.WrongType, "its type cannot be read")
		}
		if declared != octets {
			media = declared
		}
	}
	if media == "" {
		media = seen
	}
	if a.CID != "" && (!strings.HasPrefix(media, "image/") || media == "image/svg+xml") {
		return "", lackf(channels.WrongType, "%s is no image that mails show", media)
	}
	if !agree(media, seen) {
		return "", lackf(channels.WrongType, "%s, but its content is %s", media, seen)
	}
	return media, nil
}

// agree says whether content that looks like seen may be called media.
func agree(media, seen string) bool {
	switch {
	case media == seen:
		return true
	case inZip(media):
		return seen == zipped
	case slices.Contains(surely, media), slices.Contains(surely, seen):
		return false
	case seen == "text/html": // an error page in place of a file
		return media == "application/xhtml+xml" || media == "message/rfc822"
	}
	return true
}

// fits says whether a pattern of attachments.types takes the type.
func fits(pattern, media string) bool {
	pattern = strings.ToLower(pattern)
	if prefix, wild := strings.CutSuffix(pattern, "*"); wild {
		return strings.HasPrefix(media, prefix)
	}
	return pattern == media
}
