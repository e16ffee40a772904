// data.s: kernels whose result is data: fill, copy and vector add of 32-bit elements. The contract is
// include/dual-model/work_kernel_abi.h. Linked into the same code object as work.s.
//
// Each work-item handles the element of its global id, after its wave has kept its slot for
// workgroup_ticks: so a suspended or masked workgroup is one that has not written yet.
//
// Registers on entry   s[0:1] kernarg segment, s2 workgroup id x, v0 work-item id (x in bits 0..9)
//           afterwards s[4:5] to, s[6:7] from, s[8:9] other, s10 elements, s11 value,
//                      s12 workgroup_items, s13 workgroup_ticks, s[14:15] clock at entry,
//                      v[0:1] byte offset of the element

.amdhsa_code_object_version 4

.if .amdgcn.gfx_generation_minor >= 4 || .amdgcn.gfx_generation_stepping >= 10
.macro data_descriptor name:req
  .amdhsa_kernel \name
    .amdhsa_next_free_vgpr 8
    .amdhsa_accum_offset 8
    .amdhsa_next_free_sgpr 24
    .amdhsa_user_sgpr_kernarg_segment_ptr 1
    .amdhsa_system_sgpr_workgroup_id_x 1
    .amdhsa_kernarg_size 48
  .end_amdhsa_kernel
.endm
.else
.macro data_descriptor name:req
  .amdhsa_kernel \name
    .amdhsa_next_free_vgpr 8
    .amdhsa_next_free_sgpr 24
    .amdhsa_user_sgpr_kernarg_segment_ptr 1
    .amdhsa_system_sgpr_workgroup_id_x 1
    .amdhsa_kernarg_size 48
  .end_amdhsa_kernel
.endm
.endif

// v[2:3] = the element's address in the array at s[low:high].
.macro element_address low:req, high:req
  v_mov_b32_e32 v3, \high
  v_add_co_u32_e32 v2, vcc, \low, v0
  v_addc_co_u32_e32 v3, vcc, v3, v1, vcc
.endm

.macro data_begin name:req, kind:req
  .text
  .p2align 8
  .globl \name
  .type \name,@function
\name:
  s_branch .Lentry_\name
  .ascii "XSCHED-HSA-KERN1"
  .long 1
  .long \kind
.Lentry_\name:
  s_load_dwordx8 s[4:11], s[0:1], 0x0
  s_load_dwordx2 s[12:13], s[0:1], 0x20
  s_memrealtime s[14:15]
  v_and_b32_e32 v0, 0x3ff, v0
  s_waitcnt lgkmcnt(0)
.Lkeep_slot_\name:
  s_memrealtime s[20:21]
  s_waitcnt lgkmcnt(0)
  s_sub_u32 s20, s20, s14
  s_subb_u32 s21, s21, s15
  s_cmp_lg_u32 s21, 0
  s_cbranch_scc1 .Ltime_up_\name
  s_cmp_ge_u32 s20, s13
  s_cbranch_scc1 .Ltime_up_\name
  s_sleep 1
  s_branch .Lkeep_slot_\name
.Ltime_up_\name:
  s_mul_i32 s16, s2, s12
  v_add_u32_e32 v0, s16, v0
  v_mov_b32_e32 v1, 0
  v_cmp_gt_u32_e32 vcc, s10, v0
  s_and_b64 exec, exec, vcc
  s_cbranch_execz .Lend_\name
  v_lshlrev_b64 v[0:1], 2, v[0:1]
.endm

.macro data_end name:req
  element_address s4, s5
  global_store_dword v[2:3], v4, off
.Lend_\name:
  s_endpgm
  .size \name, .-\name

  .rodata
  .p2align 6
  data_descriptor \name
.endm

data_begin xsched_fill, 2
  v_mov_b32_e32 v4, s11
data_end xsched_fill

data_begin xsched_copy, 3
  element_address s6, s7
  global_load_dword v4, v[2:3], off
  s_waitcnt vmcnt(0)
data_end xsched_copy

data_begin xsched_vector_add, 4
  element_address s6, s7
  global_load_dword v4, v[2:3], off
  element_address s8, s9
  global_load_dword v5, v[2:3], off
  s_waitcnt vmcnt(0)
  v_add_u32_e32 v4, v4, v5
data_end xsched_vector_add

// The instruction fetch runs ahead of s_endpgm: give the last kernel something to run into.
.text
.rept 64
  s_nop 0
.endr
