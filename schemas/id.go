package schemas

import (
	"crypto/sha256"
	"encoding/base32"
	"strconv"
)

var base32lower = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// hash is the first n bytes of SHA-256 over the length-prefixed parts, as lower-case base32:
// safe as a NATS subject token, as an SMS OutId and as the left side of a Message-ID.
func hash(n int, parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		h.Write(strconv.AppendInt(nil, int64(len(p)), 10))
		h.Write([]byte{':'})
		h.Write([]byte(p))
	}
	return base32lower.EncodeToString(h.Sum(nil)[:n])
}

// idHashBytes is how many bytes of hash stand for an event's id alone: 13 characters.
const idHashBytes = 8

// EventKey is the event's place in the ledger: one subject token for the id, one for the source,
// so that an operator who has only the id still finds it.
func EventKey(source, id string) (idToken, sourceToken string) {
	return hash(idHashBytes, id), hash(idHashBytes, source)
}

// DeliveryID identifies one delivery for ever: the event's id token (13 characters, the same for
// all deliveries of an event, so that the event is found from any of them) and 16 characters of
// hash(tenant, source, id, recipient, channel): tenants name their sources as they like.
func DeliveryID(tenant, source, id, recipient, channel string) string {
	return hash(idHashBytes, id) + hash(10, tenant, source, id, recipient, channel)
}

// IDToken is the event's id token inside a delivery id, "" when id is not a delivery id.
func IDToken(deliveryID string) string {
	if !isDeliveryID(deliveryID) {
		return ""
	}
	return deliveryID[:13]
}
