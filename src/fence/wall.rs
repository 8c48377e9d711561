//! The wall around a process: what it takes upon itself and cannot shake off.
//!
//! Linux only, and only where the kernel has seccomp: everywhere else [`build`] fails and nothing is
//! decoded.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use landlock::{ABI, Access, AccessFs, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError, path_beneath_rules};
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, Signal, set_dumpable_behavior, set_parent_process_death_signal, setpriority_process,
    setrlimit,
};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, apply_filter,
};

use super::Bounds;

/// The wall could not be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Open;

/// Calls that decoding needs: to read and write what is open, memory that is not to be executed, the
/// end. Nothing opens a file, a socket or a process; what is not here ends the process at once.
const CALLS: &[libc::c_long] = &[
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_close,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_futex,
    libc::SYS_getrandom,
    libc::SYS_clock_gettime,
    libc::SYS_sched_yield,
    libc::SYS_sigaltstack,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigreturn,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_exit,
    libc::SYS_exit_group,
];
/// Calls that a program needs beside [`CALLS`] to be loaded and to work on several threads, on files
/// that are open; newer programs take their pipes under numbers of their own. Nothing makes a socket, a
/// pipe or another process; what is not here does not exist.
const PROGRAM_CALLS: &[libc::c_long] = &[
    libc::SYS_execve,
    libc::SYS_pread64,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_lseek,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_faccessat,
    libc::SYS_readlinkat,
    libc::SYS_getcwd,
    libc::SYS_dup,
    libc::SYS_ppoll,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_set_tid_address,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_getrusage,
    libc::SYS_sysinfo,
    libc::SYS_uname,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_membarrier,
];
/// The same under names that only this machine has.
#[cfg(target_arch = "x86_64")]
const OLD_CALLS: &[libc::c_long] =
    &[libc::SYS_arch_prctl, libc::SYS_stat, libc::SYS_access, libc::SYS_readlink, libc::SYS_poll, libc::SYS_time];
#[cfg(not(target_arch = "x86_64"))]
const OLD_CALLS: &[libc::c_long] = &[];

/// What a process may ask of the system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Calls {
    /// Only what decoding needs; anything else ends it.
    Decoding,
    /// What this program needs, which is loaded with its libraries; anything else is not there.
    Program(PathBuf),
}

/// Where systems have their libraries.
const LIBRARIES: [&str; 6] = ["/usr", "/lib", "/lib64", "/bin", "/nix/store", "/etc/ld.so.cache"];
/// Input, output and where errors go.
const OPEN_FILES: u64 = 3;
/// Files that a program may have open while it is loaded.
const PROGRAM_FILES: u64 = 64;
/// Bytes of an image of memory: too few for a file, and the one limit that a system keeps which hands
/// images to a program (core(5)); none at all would be no limit there.
const IMAGE_BYTES: u64 = 1;
/// It works when nobody else wants to.
const PROGRAM_NICENESS: i32 = 19;

/// Calls whose third argument says whether memory may be executed.
const MEMORY_CALLS: &[libc::c_long] = &[libc::SYS_mmap, libc::SYS_mprotect];
/// Calls whose first argument is a process, with 0 for the one that asks: other processes of the same user
/// are the gateway.
const PROCESS_CALLS: &[libc::c_long] = &[libc::SYS_prlimit64, libc::SYS_sched_getaffinity, libc::SYS_sched_setaffinity];
/// What may be asked of an open file: another number for it, and its flags. Not that it signals somebody,
/// nor a lease or a lock by which others wait.
const FILE_COMMANDS: &[i32] = &[libc::F_DUPFD, libc::F_DUPFD_CLOEXEC, libc::F_GETFD, libc::F_SETFD, libc::F_GETFL, libc::F_SETFL];
/// What a program may ask for itself: names, of a thread and of memory. Not that it outlives its parent, nor
/// that others may look into it.
const PROCESS_OPTIONS: &[i32] = &[libc::PR_SET_NAME, libc::PR_GET_NAME, libc::PR_SET_VMA];

/// Limits this process, for good: memory, processor time, no file larger than nothing, no file beside
/// input, output and errors, no image of its memory, no call but those named. It ends with its parent.
/// A program may read itself and the system's libraries, and no other file, not even those beside it,
/// where the kernel has Landlock; else what its user may.
///
/// # Errors
/// [`Open`] where the system refuses any of it.
pub fn build(bounds: &Bounds, calls: &Calls) -> Result<(), Open> {
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(|_| Open)?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(|_| Open)?;
    close_what_was_left_open().map_err(|_| Open)?;
    let limits = [
        (Resource::As, bounds.memory_bytes),
        (Resource::Cpu, bounds.cpu_seconds),
        (Resource::Fsize, 0),
        (Resource::Core, IMAGE_BYTES),
        (Resource::Nofile, if matches!(calls, Calls::Program(_)) { PROGRAM_FILES } else { OPEN_FILES }),
    ];
    for (resource, most) in limits {
        // At the lower one of two limits of time a process is told why it ends.
        let maximum = Some(most.saturating_add(u64::from(resource == Resource::Cpu)));
        setrlimit(resource, Rlimit { current: Some(most), maximum }).map_err(|_| Open)?;
    }
    let filter = match calls {
        Calls::Decoding => decoding(),
        Calls::Program(file) => {
            setpriority_process(None, PROGRAM_NICENESS).map_err(|_| Open)?;
            read_only(file).map_err(|_| Open)?;
            program()
        }
    };
    // Also gives up for good what a set-user-id file would give.
    apply_filter(&filter.ok_or(Open)?).map_err(|_| Open)
}

/// Whoever started the gateway may have left files open that every process after it inherits; a limit
/// of their number closes none.
fn close_what_was_left_open() -> io::Result<()> {
    let numbers = fs::read_dir("/proc/self/fd")?.map(|entry| Ok(entry?.file_name().to_str().and_then(|n| n.parse().ok())));
    let numbers = numbers.collect::<io::Result<Vec<Option<i32>>>>()?;
    for number in numbers.into_iter().flatten().filter(|number| u64::try_from(*number).is_ok_and(|n| n >= OPEN_FILES)) {
        // That by which the list was read is closed already.
        let _ = nix::unistd::close(number);
    }
    Ok(())
}

/// Of all files only those can be opened that a program is loaded from: the data key may lie beside
/// it. A kernel that cannot do it lets it be.
fn read_only(program: &Path) -> Result<(), RulesetError> {
    let read = AccessFs::from_read(ABI::V1);
    let places = LIBRARIES.iter().map(Path::new).chain([program]).filter(|place| place.exists());
    let rules = Ruleset::default().handle_access(AccessFs::from_all(ABI::V1))?.create()?;
    rules.add_rules(path_beneath_rules(places, read))?.restrict_self().map(drop)
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// A rule for a call of which the bits `mask` of an argument are `value`.
fn masked(argument: u8, mask: i32, value: i32) -> Option<Vec<SeccompRule>> {
    let mask = u64::try_from(mask).ok()?;
    Some(vec![rule(argument, SeccompCmpOp::MaskedEq(mask), value)?])
}

/// A rule for a call of which an argument is one of these.
fn one_of(argument: u8, values: &[i32]) -> Option<Vec<SeccompRule>> {
    values.iter().map(|value| rule(argument, SeccompCmpOp::Eq, *value)).collect()
}

/// Of an argument of 32 bits: what stands above them, no call looks at.
fn rule(argument: u8, is: SeccompCmpOp, value: i32) -> Option<SeccompRule> {
    let is_so = SeccompCondition::new(argument, SeccompCmpArgLen::Dword, is, u64::try_from(value).ok()?).ok()?;
    SeccompRule::new(vec![is_so]).ok()
}

/// This process: it keeps its number when it becomes another program.
fn own() -> Option<i32> {
    i32::try_from(std::process::id()).ok()
}

fn decoding() -> Option<BpfProgram> {
    let mut rules: Rules = CALLS.iter().map(|call| (*call, Vec::new())).collect();
    rules.insert(libc::SYS_tgkill, one_of(0, &[own()?])?);
    for call in MEMORY_CALLS {
        rules.insert(*call, masked(2, libc::PROT_EXEC, 0)?);
    }
    compile(rules, SeccompAction::KillProcess)
}

fn program() -> Option<BpfProgram> {
    let calls = CALLS.iter().chain(PROGRAM_CALLS).chain(OLD_CALLS);
    let mut rules: Rules = calls.map(|call| (*call, Vec::new())).collect();
    rules.insert(libc::SYS_tgkill, one_of(0, &[own()?])?);
    for call in PROCESS_CALLS {
        rules.insert(*call, one_of(0, &[0, own()?])?);
    }
    rules.insert(libc::SYS_fcntl, one_of(1, FILE_COMMANDS)?);
    rules.insert(libc::SYS_prctl, one_of(0, PROCESS_OPTIONS)?);
    // To read, and not to empty it: that needs no right to write where the file system gives it. A thread,
    // and no process: a newer call for it cannot be looked into, and whoever is told that it does not exist
    // takes the old one.
    rules.insert(libc::SYS_openat, masked(2, libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC, libc::O_RDONLY)?);
    rules.insert(libc::SYS_clone, masked(0, libc::CLONE_THREAD, libc::CLONE_THREAD)?);
    compile(rules, SeccompAction::Errno(u32::try_from(libc::ENOSYS).ok()?))
}

fn compile(rules: Rules, otherwise: SeccompAction) -> Option<BpfProgram> {
    let machine = std::env::consts::ARCH.try_into().ok()?;
    SeccompFilter::new(rules, otherwise, SeccompAction::Allow, machine).ok()?.try_into().ok()
}
