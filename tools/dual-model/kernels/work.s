// work.s: the load generator's kernels: they keep a workgroup slot for a given time and leave a
// countable effect behind. The contract is include/dual-model/work_kernel_abi.h.
//
// One source for gfx908, gfx90a and gfx942; assembled by clang-19, which has no gfx950 (MI350 needs
// a later assembler: add the name to CMakeLists.txt then). One symbol per VGPR allocation, because
// the descriptor's register count is what limits how many workgroups share a compute unit.
//
// Launches are one-dimensional: workgroup_size_x work-items, so that work-item 0 sits in the first
// wave of its workgroup; it alone touches the counters. The other waves only keep their slots.
//
// Registers on entry   s[0:1] kernarg segment, s2 workgroup id x, v0 work-item id (x in bits 0..9)
//           afterwards s[4:5] workgroups_done, s[6:7] sequence, s[8:9] order_errors,
//                      s[10:11] expected_sequence, s12 workgroup_ticks, s[14:15] clock at entry,
//                      s[16:17] lane of work-item 0, s[18:19] exec at entry

.amdhsa_code_object_version 4

// gfx940 and later spell the cache bits of an atomic differently: sc0 returns the old value, sc1
// makes it visible to the host. Before them, fine-grained memory is uncached and glc alone returns.
.if .amdgcn.gfx_generation_minor >= 4
.macro atomic_add_returning old:req, address:req, value:req
  global_atomic_add_x2 \old, \address, \value, off sc0 sc1
.endm
.macro atomic_add address:req, value:req
  global_atomic_add_x2 \address, \value, off sc1
.endm
.else
.macro atomic_add_returning old:req, address:req, value:req
  global_atomic_add_x2 \old, \address, \value, off glc
.endm
.macro atomic_add address:req, value:req
  global_atomic_add_x2 \address, \value, off
.endm
.endif

// The descriptor's block takes no conditional inside, so there are two of it: gfx90a and later have
// one register file for VGPRs and AGPRs and say where the second part would begin.
.if .amdgcn.gfx_generation_minor >= 4 || .amdgcn.gfx_generation_stepping >= 10
.macro descriptor vgprs:req
  .amdhsa_kernel xsched_work_v\vgprs
    .amdhsa_next_free_vgpr \vgprs
    .amdhsa_accum_offset \vgprs
    .amdhsa_next_free_sgpr 24
    .amdhsa_user_sgpr_kernarg_segment_ptr 1
    .amdhsa_system_sgpr_workgroup_id_x 1
    .amdhsa_kernarg_size 40
  .end_amdhsa_kernel
.endm
.else
.macro descriptor vgprs:req
  .amdhsa_kernel xsched_work_v\vgprs
    .amdhsa_next_free_vgpr \vgprs
    .amdhsa_next_free_sgpr 24
    .amdhsa_user_sgpr_kernarg_segment_ptr 1
    .amdhsa_system_sgpr_workgroup_id_x 1
    .amdhsa_kernarg_size 40
  .end_amdhsa_kernel
.endm
.endif

.macro work_kernel vgprs:req
  .text
  .p2align 8
  .globl xsched_work_v\vgprs
  .type xsched_work_v\vgprs,@function
xsched_work_v\vgprs:
  s_branch .Lentry_v\vgprs
  .ascii "XSCHED-HSA-KERN1"      // KernelSignature: magic, version, kind
  .long 1
  .long 1
.Lentry_v\vgprs:
  s_load_dwordx8 s[4:11], s[0:1], 0x0
  s_load_dword s12, s[0:1], 0x20
  s_memrealtime s[14:15]
  s_mov_b64 s[18:19], exec
  v_and_b32_e32 v0, 0x3ff, v0
  v_cmp_eq_u32_e64 s[16:17], 0, v0
  v_mov_b32_e32 v0, 1
  v_mov_b32_e32 v1, 0
  s_and_b64 s[16:17], s[16:17], exec
  s_waitcnt lgkmcnt(0)

  // 1. Workgroup 0, work-item 0: is this dispatch the one that was to begin now?
  s_cmp_lg_u32 s2, 0
  s_cbranch_scc1 .Lkeep_slot_v\vgprs
  s_cmp_eq_u64 s[16:17], 0
  s_cbranch_scc1 .Lkeep_slot_v\vgprs
  s_mov_b64 exec, s[16:17]
  v_mov_b32_e32 v2, s6
  v_mov_b32_e32 v3, s7
  atomic_add_returning v[4:5], v[2:3], v[0:1]
  v_mov_b32_e32 v2, s8
  v_mov_b32_e32 v3, s9
  s_waitcnt vmcnt(0)
  v_cmp_ne_u64_e32 vcc, s[10:11], v[4:5]
  s_and_b64 exec, exec, vcc
  s_cbranch_execz .Lin_order_v\vgprs
  atomic_add v[2:3], v[0:1]
.Lin_order_v\vgprs:
  s_mov_b64 exec, s[18:19]

  // 2. Every wave: until workgroup_ticks have passed since entry. s_sleep leaves the SIMD to others.
.Lkeep_slot_v\vgprs:
  s_memrealtime s[20:21]
  s_waitcnt lgkmcnt(0)
  s_sub_u32 s20, s20, s14
  s_subb_u32 s21, s21, s15
  s_cmp_lg_u32 s21, 0
  s_cbranch_scc1 .Ltime_up_v\vgprs
  s_cmp_ge_u32 s20, s12
  s_cbranch_scc1 .Ltime_up_v\vgprs
  s_sleep 1
  s_branch .Lkeep_slot_v\vgprs

  // 3. Work-item 0: this workgroup has run.
.Ltime_up_v\vgprs:
  s_cmp_eq_u64 s[16:17], 0
  s_cbranch_scc1 .Lend_v\vgprs
  s_mov_b64 exec, s[16:17]
  v_mov_b32_e32 v2, s4
  v_mov_b32_e32 v3, s5
  atomic_add v[2:3], v[0:1]
.Lend_v\vgprs:
  s_endpgm
  .size xsched_work_v\vgprs, .-xsched_work_v\vgprs

  .rodata
  .p2align 6
  descriptor \vgprs
.endm

.irp vgprs, 8, 16, 24, 32, 40, 48, 56, 64, 72, 80, 88, 96, 104, 112, 120, 128
  work_kernel \vgprs
.endr
.irp vgprs, 136, 144, 152, 160, 168, 176, 184, 192, 200, 208, 216, 224, 232, 240, 248, 256
  work_kernel \vgprs
.endr

// The instruction fetch runs ahead of s_endpgm: give the last kernel something to run into.
.text
.rept 64
  s_nop 0
.endr

// The msgpack note that runtimes above ROCr read; CMakeLists.txt writes one entry per symbol.
.include "metadata.s"
