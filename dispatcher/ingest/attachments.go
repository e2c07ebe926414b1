package ingest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"mime"
	"net/http"
	"time"

	"github.com/yizhan-dev/yizhan/dispatcher/broker"
	"github.com/yizhan-dev/yizhan/schemas"
)

// uploadTimeout is for storing one file.
const uploadTimeout = 30 * time.Second

// putAttachment stores a file for the events that are going to refer to it, and answers the reference. The
// place is the tenant's folder and the file's hash: the same file again is the same object.
func (s *server) putAttachment(w *answer, r *http.Request) error {
	if s.cfg.Upload.Bucket == "" {
		return notFound(text("没有开放附件上传：请在 yizhan.yaml 中设置 attachments.object.upload", "attachments are not taken in here: set attachments.object.upload in yizhan.yaml"))
	}
	who, body, done, err := s.enter(w, r, want{role: RolePublish, body: s.cfg.Upload.MaxFile})
	if err != nil {
		return err
	}
	defer done()
	tenant, err := s.tenantOf(r, who)
	if err != nil {
		return err
	}
	if tenant == "" {
		if tenant = schemas.DefaultTenant; !who.allowsTenant(tenant) {
			return notYours(who, tenant)
		}
	}
	if len(body) == 0 {
		return invalid([]schemas.Problem{{Keyword: "required", Text: text("文件为空", "the file is empty")}})
	}
	sum := sha256.Sum256(body)
	hash := hex.EncodeToString(sum[:])
	object := tenant + "/" + hash
	a := schemas.Attachment{Name: r.PathValue("name"), URL: "object://" + s.cfg.Upload.Bucket + "/" + object, SHA256: hash, Type: fileType(r), Size: len(body)}
	if ps := a.Check(); ps != nil {
		return invalid(ps)
	}
	ctx, cancel := context.WithTimeout(r.Context(), uploadTimeout)
	defer cancel()
	// Half of its time is left for the mails that are going to need it.
	if err := s.d.Broker.PutObject(ctx, s.cfg.Upload.Bucket, object, body, s.cfg.Upload.MaxAge/2); err != nil {
		if errors.Is(err, broker.ErrFull) {
			return &problem{
				status: http.StatusInsufficientStorage, name: "storage-full", title: text("附件存储已满", "The storage for attachments is full"),
				detail: text("附件存储已达 attachments.object.max_bytes", "the files have reached attachments.object.max_bytes"),
			}
		}
		return err
	}
	writeJSON(w, http.StatusCreated, mediaJSON, a)
	return nil
}

// fileType is the declared media type; what clients send when nobody said anything is none.
func fileType(r *http.Request) string {
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media == "application/octet-stream" || media == "application/x-www-form-urlencoded" {
		return ""
	}
	return media
}
