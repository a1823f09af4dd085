//! The state of one member: status, checksums, alarms, an image of it all, its space, and the hand-over of leadership.

use std::pin::Pin;

use futures_util::stream::{Stream, StreamExt as _, unfold};
use tonic::{Request, Response, Status};

use crate::config::{API_VERSION, STORAGE_VERSION};
use crate::machine::command::{AlarmKind, Command};
use crate::machine::effects::RecordsError;
use crate::member::{Credential, Member};
use crate::pb::etcdserverpb as pb;
use crate::pb::etcdserverpb::alarm_request::AlarmAction;
use crate::pb::etcdserverpb::downgrade_request::DowngradeAction;
use crate::pb::etcdserverpb::maintenance_server::Maintenance;
use crate::service::call::Calls;
use crate::service::convert;
use crate::service::image::{IMAGE_VERSION, ImageError, ImageSender, Sent};
use crate::service::status::ApiError;
use crate::types::{MemberId, Revision};

/// The pieces of an image.
type SnapshotAnswers = Pin<Box<dyn Stream<Item = Result<pb::SnapshotResponse, Status>> + Send>>;

/// The service.
pub struct MaintenanceService {
    calls: Calls,
    images: ImageSender,
}

impl MaintenanceService {
    /// Serves the state of a member.
    pub fn new(calls: Calls) -> MaintenanceService {
        MaintenanceService { calls, images: ImageSender::default() }
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
            storage_version: STORAGE_VERSION.to_owned(),
            db_size_quota: member.config().knobs.quota_bytes.map_or(0, bytes),
            downgrade_info: Some(pb::DowngradeInfo {
                enabled: status.downgrade.is_some(),
                target_version: status.downgrade.map_or_else(String::new, |target| target.to_string()),
            }),
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

    async fn alarms(&self, who: &Credential, request: pb::AlarmRequest) -> Result<pb::AlarmResponse, Status> {
        let member = self.calls.member();
        let kind = convert::alarm_kind(request.alarm);
        let of = MemberId(request.member_id);
        let alarms = match AlarmAction::try_from(request.action) {
            Ok(AlarmAction::Get) => {
                member.alarms(who).await.map_err(ApiError::from)?.map_err(ApiError::from)?
            }
            Ok(AlarmAction::Activate) => self.set_alarm(who, true, of, kind).await?,
            Ok(AlarmAction::Deactivate) => self.set_alarm(who, false, of, kind).await?,
            Err(_) => return Err(Status::invalid_argument("unknown alarm action")),
        };
        let wanted = alarms.into_iter().filter(|(raised, _)| kind.is_none_or(|kind| kind == *raised));
        Ok(pb::AlarmResponse {
            header: Some(self.calls.header_now()),
            alarms: wanted.map(|(kind, member)| convert::alarm_member(kind, member)).collect(),
        })
    }

    async fn downgrades(
        &self,
        who: &Credential,
        request: pb::DowngradeRequest,
    ) -> Result<pb::DowngradeResponse, Status> {
        let member = self.calls.member();
        let level = match DowngradeAction::try_from(request.action) {
            Ok(DowngradeAction::Validate) => {
                member.check_downgrade(who, &request.version).await.map(|(level, _)| level)
            }
            Ok(DowngradeAction::Enable) => member.enable_downgrade(who, &request.version).await,
            Ok(DowngradeAction::Cancel) => member.cancel_downgrade(who).await,
            Err(_) => return Err(ApiError::UNKNOWN_METHOD.into()),
        };
        let version = level.map_err(ApiError::from)?.to_string();
        Ok(pb::DowngradeResponse { header: Some(self.calls.header_now()), version })
    }

    /// Raises or clears an alarm; the alarms that this changed.
    async fn set_alarm(
        &self,
        who: &Credential,
        raise: bool,
        of: MemberId,
        kind: Option<AlarmKind>,
    ) -> Result<Vec<(AlarmKind, MemberId)>, Status> {
        let member = self.calls.member();
        let root = member.admit(who, |state, caller| state.auth().check_root(caller)).await;
        root.map_err(ApiError::from)?.map_err(ApiError::from)?;
        let Some(kind) = kind else { return Ok(Vec::new()) };
        let before = member.alarms(who).await.map_err(ApiError::from)?.map_err(ApiError::from)?;
        let answer = member.propose_for(who, Command::Alarm { raise, member: of, kind }).await;
        answer.map_err(ApiError::from)?.result.map_err(ApiError::from)?;
        if raise {
            return Ok(vec![(kind, of)]);
        }
        let cleared = |alarm: &(AlarmKind, MemberId)| alarm.0 == kind && (of.0 == 0 || alarm.1 == of);
        Ok(before.into_iter().filter(cleared).collect())
    }
}

/// A piece of an image as the client gets it, none at its end, or why it ends early.
fn image_answer(member: &Member, sent: Option<Sent>) -> Result<Option<pb::SnapshotResponse>, Status> {
    match sent {
        Some(Ok(None)) => Ok(None),
        Some(Ok(Some(piece))) => Ok(Some(pb::SnapshotResponse {
            header: None,
            remaining_bytes: piece.left,
            blob: piece.bytes,
            version: IMAGE_VERSION.to_owned(),
        })),
        Some(Err(ImageError::TooOld)) => Err(Status::unavailable(ImageError::TooOld.to_string())),
        Some(Err(ImageError::Unreadable(why))) => {
            Err(ApiError::from(member.unreadable(&RecordsError(why))).into())
        }
        None => Err(ApiError::STOPPED.into()),
    }
}

fn bytes(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[tonic::async_trait]
impl Maintenance for MaintenanceService {
    async fn alarm(&self, request: Request<pb::AlarmRequest>) -> Result<Response<pb::AlarmResponse>, Status> {
        let (metadata, extensions, request) = request.into_parts();
        self.calls
            .unary(&metadata, self.alarms(&self.calls.who(&metadata, &extensions), request))
            .await
            .map(Response::new)
    }

    async fn status(
        &self,
        request: Request<pb::StatusRequest>,
    ) -> Result<Response<pb::StatusResponse>, Status> {
        self.calls.admit_known(&self.calls.who_asks(&request)).await?;
        // Asked most of all when something is wrong: a missing leader is an answer here, never an error.
        self.member_status().await.map(Response::new)
    }

    async fn hash(&self, request: Request<pb::HashRequest>) -> Result<Response<pb::HashResponse>, Status> {
        self.calls.admit_root(&self.calls.who_asks(&request)).await?;
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
        let (metadata, extensions, request) = request.into_parts();
        self.calls.admit_root(&self.calls.who(&metadata, &extensions)).await?;
        self.calls.unary(&metadata, self.checksum(request)).await.map(Response::new)
    }

    async fn defragment(
        &self,
        request: Request<pb::DefragmentRequest>,
    ) -> Result<Response<pb::DefragmentResponse>, Status> {
        self.calls.admit_root(&self.calls.who_asks(&request)).await?;
        let member = self.calls.member().clone();
        let defragmenting = async {
            // Begun, it goes on to its end, whether or not its client waits for that.
            match tokio::spawn(async move { member.defragment().await }).await {
                Ok(done) => done.map_err(Status::from)?,
                Err(_) => return Err(ApiError::STOPPED.into()),
            }
            // The API gives this answer no header.
            Ok(pb::DefragmentResponse { header: None })
        };
        self.calls.unary(request.metadata(), defragmenting).await.map(Response::new)
    }

    type SnapshotStream = SnapshotAnswers;

    async fn snapshot(
        &self,
        request: Request<pb::SnapshotRequest>,
    ) -> Result<Response<SnapshotAnswers>, Status> {
        self.calls.admit_root(&self.calls.who_asks(&request)).await?;
        let leaderless = self.calls.leaderless_on_learner(request.metadata())?;
        let offer = self.images.offer().ok_or(ApiError::TOO_MANY_REQUESTS)?;
        let member = self.calls.member().clone();
        let view = async { member.pinned_state().await.map_err(|error| ApiError::from(error).into()) };
        let view = self.calls.unary_on_learner(request.metadata(), view).await?;
        // Again, in a state that is no older than what is sent: users may have been made meanwhile.
        self.calls.admit_root(&self.calls.who_asks(&request)).await?;
        let pieces = offer.send(member.clone(), self.calls.env().clone(), view);
        let answers = unfold(Some((pieces, Box::pin(leaderless))), move |under_way| {
            let member = member.clone();
            async move {
                let (mut pieces, mut leaderless) = under_way?;
                let answer = tokio::select! {
                    biased;
                    status = &mut leaderless => Err(status),
                    sent = pieces.recv() => image_answer(&member, sent),
                };
                let goes_on = matches!(answer, Ok(Some(_)));
                Some((answer.transpose()?, goes_on.then_some((pieces, leaderless))))
            }
        });
        Ok(Response::new(answers.boxed()))
    }

    async fn move_leader(
        &self,
        request: Request<pb::MoveLeaderRequest>,
    ) -> Result<Response<pb::MoveLeaderResponse>, Status> {
        let (metadata, extensions, request) = request.into_parts();
        self.calls.admit_root(&self.calls.who(&metadata, &extensions)).await?;
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
        request: Request<pb::DowngradeRequest>,
    ) -> Result<Response<pb::DowngradeResponse>, Status> {
        let (metadata, extensions, request) = request.into_parts();
        let who = self.calls.who(&metadata, &extensions);
        self.calls.unary(&metadata, self.downgrades(&who, request)).await.map(Response::new)
    }
}
