"""The number of round trips of each operation of groups, BEGIN and COMMIT included."""

from __future__ import annotations

GROUP_BUDGETS = {
    "POST /groups": 9,
    "GET /groups": 1,
    "GET /groups/{group_id}": 1,
    "PATCH /groups/{group_id}": 10,
    "POST /groups/{group_id}/avatar": 13,
    "DELETE /groups/{group_id}/avatar": 12,
    "POST /groups/{group_id}/transfer": 12,
    "POST /groups/{group_id}/leave": 8,
    "DELETE /groups/{group_id}": 10,
    "GET /groups/{group_id}/log": 2,
    "GET /groups/{group_id}/members": 1,
    "GET /groups/{group_id}/members/{user_id}": 1,
    "PATCH /groups/{group_id}/members/{user_id}": 10,
    "DELETE /groups/{group_id}/members/{user_id}": 8,
    "POST /groups/{group_id}/invitations": 11,
    "DELETE /groups/{group_id}/invitations/{user_id}": 7,
    "GET /invitations": 1,
    "POST /groups/{group_id}/join": 13,
    "POST /groups/{group_id}/decline": 6,
    "POST /groups/{group_id}/links": 8,
    "GET /groups/{group_id}/links": 2,
    "PATCH /groups/{group_id}/links/{link_id}": 7,
    "DELETE /groups/{group_id}/links/{link_id}": 7,
    "DELETE /groups/{group_id}/links": 7,
    "GET /links/{token}": 1,
    "POST /links/{token}/join": 14,
    "GET /groups/{group_id}/requests": 2,
    "POST /groups/{group_id}/requests/{user_id}": 14,
    "DELETE /groups/{group_id}/requests": 7,
    "GET /groups/{group_id}/bans": 2,
    "PUT /groups/{group_id}/bans/{user_id}": 12,
    "DELETE /groups/{group_id}/bans/{user_id}": 5,
    "GET /messages/{message_id}/receipts": 1,
}
"""By method and path."""

TO_GROUP_BUDGETS = {
    "POST /messages": 1,
    "GET /history/{target_id}": 2,
    "GET /conversations": 1,
    "PUT /conversations/{target_id}": 6,
    "POST /receipts": 4,
    "GET /messages/{message_id}": 1,
    "PATCH /messages/{message_id}": 8,
    "DELETE /messages/{message_id}": 7,
    "GET /sync": 1,
}
"""Operations that also take users, with a group."""
