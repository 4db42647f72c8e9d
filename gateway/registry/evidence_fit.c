#include "gateway/registry/evidence_fit.h"

/* SQL: the id of the policy that applies to the device in a row of table evidence; NULL if none applies. */
#define POLICY_OF_EVIDENCE                                                                                             \
    "(SELECT coalesce(p1.id, p2.id) FROM device d"                                                                     \
    " LEFT JOIN policy p1 ON p1.kind = 'device' AND p1.target = d.name"                                                \
    " LEFT JOIN policy p2 ON p2.kind = 'group' AND p2.target = d.team WHERE d.id = evidence.device)"
#define AGE_OF_EVIDENCE "(SELECT max_age FROM policy WHERE id = " POLICY_OF_EVIDENCE ")"

cmx_err gw_evidence_fit(struct gw_registry *r, struct cmx_why *e)
{
    return gw_sql_run(r, e,
                      "DELETE FROM evidence WHERE trusted = 1 AND " POLICY_OF_EVIDENCE " IS NOT NULL AND manifest"
                      " NOT IN (SELECT digest FROM policy_manifest WHERE policy = " POLICY_OF_EVIDENCE ");"
                      "UPDATE evidence SET boot_ends = boot_ends - (ends - given - " AGE_OF_EVIDENCE "),"
                      " ends = given + " AGE_OF_EVIDENCE " WHERE ends - given > " AGE_OF_EVIDENCE,
                      "");
}
