//! The state of one member: status, checksums, alarms, and the hand-over of leadership. Images and
//! defragmentation are not offered yet.

use futures_util::stream::Empty;
use tonic::{Request, Response, Status};

use crate::config::API_VERSION;
use crate::machine::command::{AlarmKind, Command};
use crate::pb::etcdserverpb as pb;
use crate::pb::etcdserverpb::alarm_request::AlarmAction;
use crate::pb::etcdserverpb::maintenance_server::Maintenance;
use crate::service::call::Calls;
use crate::service::convert;
use crate::service::status::{ApiError, unimplemented};
use crate::types::{MemberId, Revision};

/// The service.
pub struct MaintenanceService {
    calls: Calls,
}

impl MaintenanceService {
    /// Serves the state of a member.
    pub fn new(calls: Calls) -> MaintenanceService {
        MaintenanceService { calls }
    }

    async fn member_status(&self) -> Result<pb::StatusResponse, Status> {
        let member = self.calls.member();
        let status = member.status();
        let size = member.size().map_err(ApiError::from)?;
        let leaderless = status.leader.is_none();
        let mut errors = Vec::new();
        errors.extend(leaderless.then(|| ApiError::NO_LEADER.text.to_owned()));
        errors.extend(status.alarms.iter().map(|(kind, member)| {
            let name = match kind {
                AlarmKind::NoSpace => "NOSPACE",
                AlarmKind::Corrupt => "CORRUPT",
            };
            format!("memberID:{} alarm:{name} ", member.0)
        }));
        Ok(pb::StatusResponse {
            header: Some(self.calls.header(status.revision)),
            version: API_VERSION.to_owned(),
            db_size: bytes(size.file_bytes),
            leader: status.leader.map_or(0, |leader| leader.0),
            raft_index: status.raft.committed.map_or(0, |id| id.index.0),
            raft_term: status.raft.term.0,
            raft_applied_index: status.raft.applied.map_or(0, |id| id.index.0),
            errors,
            db_size_in_use: bytes(size.in_use_bytes),
            is_learner: status.raft.is_learner,
            storage_version: API_VERSION.to_owned(),
            db_size_quota: member.config().knobs.quota_bytes.map_or(0, bytes),
            downgrade_info: Some(pb::DowngradeInfo::default()),
        })
    }

    async fn checksum(&self, request: pb::HashKvRequest) -> Result<pb::HashKvResponse, Status> {
        let hash = self.calls.member().hash_kv(Revision(request.revision)).await;
        let (revision, hash) = hash.map_err(ApiError::from)?;
        let hash = hash.map_err(ApiError::from)?;
        Ok(pb::HashKvResponse {
            header: Some(self.calls.header(revision)),
            hash: hash.hash,
            compact_revision: hash.compacted.0,
            hash_revision: hash.revision.0,
        })
    }

    async fn alarms(&self, request: pb::AlarmRequest) -> Result<pb::AlarmResponse, Status> {
        let member = self.calls.member();
        let kind = convert::alarm_kind(request.alarm);
        let of = MemberId(request.member_id);
        let alarms = match AlarmAction::try_from(request.action) {
            Ok(AlarmAction::Get) => member.alarms().await.map_err(ApiError::from)?,
            Ok(AlarmAction::Activate) => self.set_alarm(true, of, kind).await?,
            Ok(AlarmAction::Deactivate) => self.set_alarm(false, of, kind).await?,
            Err(_) => return Err(Status::invalid_argument("unknown alarm action")),
        };
        let wanted = alarms.into_iter().filter(|(raised, _)| kind.is_none_or(|kind| kind == *raised));
        Ok(pb::AlarmResponse {
            header: Some(self.calls.header_now()),
            alarms: wanted.map(|(kind, member)| convert::alarm_member(kind, member)).collect(),
        })
    }

    /// Raises or clears an alarm; the alarms that this changed.
    async fn set_alarm(
        &self,
        raise: bool,
        of: MemberId,
        kind: Option<AlarmKind>,
    ) -> Result<Vec<(AlarmKind, MemberId)>, Status> {
        let member = self.calls.member();
        let Some(kind) = kind else { return Ok(Vec::new()) };
        let before = member.alarms().await.map_err(ApiError::from)?;
        let answer = member.propose(Command::Alarm { raise, member: of, kind }).await;
        answer.map_err(ApiError::from)?.result.map_err(ApiError::from)?;
        if raise {
            return Ok(vec![(kind, of)]);
        }
        let cleared = |alarm: &(AlarmKind, MemberId)| alarm.0 == kind && (of.0 == 0 || alarm.1 == of);
        Ok(before.into_iter().filter(cleared).collect())
    }
}

fn bytes(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[tonic::async_trait]
impl Maintenance for MaintenanceService {
    async fn alarm(&self, request: Request<pb::AlarmRequest>) -> Result<Response<pb::AlarmResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        self.calls.unary(&metadata, self.alarms(request)).await.map(Response::new)
    }

    async fn status(&self, _: Request<pb::StatusRequest>) -> Result<Response<pb::StatusResponse>, Status> {
        // Asked most of all when something is wrong: a missing leader is an answer here, never an error.
        self.member_status().await.map(Response::new)
    }

    async fn hash(&self, _: Request<pb::HashRequest>) -> Result<Response<pb::HashResponse>, Status> {
        let status = self.calls.member().status();
        let [a, b, c, d, ..] = status.hash.1.to_be_bytes();
        Ok(Response::new(pb::HashResponse {
            header: Some(self.calls.header(status.revision)),
            hash: u32::from_be_bytes([a, b, c, d]),
        }))
    }

    async fn hash_kv(
        &self,
        request: Request<pb::HashKvRequest>,
    ) -> Result<Response<pb::HashKvResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        self.calls.unary(&metadata, self.checksum(request)).await.map(Response::new)
    }

    async fn defragment(
        &self,
        _: Request<pb::DefragmentRequest>,
    ) -> Result<Response<pb::DefragmentResponse>, Status> {
        unimplemented("Defragment")
    }

    type SnapshotStream = Empty<Result<pb::SnapshotResponse, Status>>;

    async fn snapshot(
        &self,
        _: Request<pb::SnapshotRequest>,
    ) -> Result<Response<Self::SnapshotStream>, Status> {
        unimplemented("Snapshot")
    }

    async fn move_leader(
        &self,
        request: Request<pb::MoveLeaderRequest>,
    ) -> Result<Response<pb::MoveLeaderResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let moving = async {
            let moved = self.calls.member().move_leader(MemberId(request.target_id)).await;
            moved.map_err(ApiError::from)?;
            // The API gives this answer no header.
            Ok(pb::MoveLeaderResponse { header: None })
        };
        self.calls.unary(&metadata, moving).await.map(Response::new)
    }

    async fn downgrade(
        &self,
        _: Request<pb::DowngradeRequest>,
    ) -> Result<Response<pb::DowngradeResponse>, Status> {
        unimplemented("Downgrade")
    }
}
